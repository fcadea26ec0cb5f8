"""What can go wrong, by name.

    RoFormerMILError         base of all errors that this package raises on purpose
    ├── SlideError           one slide cannot be used: stages record its status and continue with the others
    ├── ConfigError          the configuration, or an option of a command, cannot be used
    ├── SheetError           a slide sheet has rows that cannot be used
    ├── FoldsError           folds cannot be made from these slides, or given folds do not fit them
    ├── LeakError            what is tested was seen in training: a patient, or the same slide under another name
    ├── WeightsError         weights (encoder, tissue network) are missing, damaged or those of another network
    ├── StoreError           a feature store is missing, damaged or incomplete
    ├── BagError             a bag cannot be fed to a model
    ├── ModelError           a model, trained or packaged, is missing, damaged or of other features than those given
    ├── OutOfMemoryError     slides do not fit into memory in training or evaluation
    ├── OutputError          a result cannot be written: the disk is full, or the folder is read-only
    ├── DownloadError        slides did not arrive complete; what did arrive is kept, the next run resumes there
    ├── TooManyFailedError   more slides of a data set failed than max_failed_fraction allows
    └── TerminatedError      a scheduler ended the job (SIGTERM) before its work was finished

Every error has a `status` for programs and a message for people, which names the slide, row or key and the remedy.
"""

from enum import StrEnum
from signal import SIGTERM


class Status(StrEnum):
    """What became of a slide: the column `status` of `slides.csv`."""

    OK = "ok"
    EMPTY = "empty"  # no tissue, or no tile with enough of it
    EXCLUDED = "excluded"  # by the slide sheet
    MISSING = "missing"
    EMPTY_FILE = "empty_file"
    UNREADABLE = "unreadable"
    READ_FAILED = "read_failed"
    TIMED_OUT = "timed_out"  # reading stalled for longer than `slide_timeout`
    CRASHED = "crashed"  # the process reading the slide died
    CHANGED = "changed"  # the file changed during processing
    NEEDS_TIATOOLBOX = "needs_tiatoolbox"
    NO_MPP = "no_mpp"
    ABSURD_MPP = "absurd_mpp"
    ANISOTROPIC = "anisotropic"
    ABSURD_SIZE = "absurd_size"
    TOO_COARSE = "too_coarse"
    TOO_SMALL = "too_small"  # smaller than a tile
    NOT_BRIGHTFIELD = "not_brightfield"
    WRONG_FEATURES = "wrong_features"  # features that do not fit the model asked to predict
    OUT_OF_MEMORY = "out_of_memory"


# The same file may be usable another time: the workflow's next run tries the slide again.
TRANSIENT = {Status.MISSING, Status.TIMED_OUT, Status.CRASHED, Status.CHANGED, Status.OUT_OF_MEMORY}


class RoFormerMILError(Exception):
    status: str = "error"
    exit_status = 1  # of a command


class SlideError(RoFormerMILError):
    """remedy: what to do in training, given apart where `predict` has another remedy (deployment/remedies.py)."""

    def __init__(self, status: Status, problem: str, remedy: str = ""):
        super().__init__(status, problem, remedy)  # all are `args`, so that the error can be pickled
        self.status, self.problem, self.remedy = status, problem, remedy

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.problem, self.remedy)))


class ConfigError(RoFormerMILError):
    status = "config"


class SheetError(RoFormerMILError):
    status = "sheet"


class FoldsError(RoFormerMILError):
    status = "folds"


class LeakError(RoFormerMILError):
    status = "leak"


class WeightsError(RoFormerMILError):
    status = "weights"
    download = "`snakemake --forcerun weights` downloads it where there is a network"  # remedy for jobs, which download nothing


class StoreError(RoFormerMILError):
    status = "store"


class BagError(RoFormerMILError):
    status = "bag"


class ModelError(RoFormerMILError):
    status = "model"


class OutOfMemoryError(RoFormerMILError):
    status = "out_of_memory"


class OutputError(RoFormerMILError):
    status = "output"


class DownloadError(RoFormerMILError):
    status = "download"


class TooManyFailedError(RoFormerMILError):
    status = "too_many_failed"


class TerminatedError(RoFormerMILError):
    status = "terminated"
    exit_status = 128 + SIGTERM  # as of a shell
