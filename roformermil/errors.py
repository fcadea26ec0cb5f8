"""What can go wrong, by name.

    RoFormerMILError
    ├── SlideError           one slide cannot be used: its status in slides.csv
    ├── ConfigError          the configuration
    ├── SheetError           a slide sheet
    ├── FoldsError           folds that cannot be made
    ├── LeakError            folds whose test part was seen in training
    ├── WeightsError         weights of an encoder or a tissue network
    ├── StoreError           a feature store
    ├── BagError             features that a model cannot take
    ├── ModelError           a trained or packaged model
    ├── OutOfMemoryError     slides that do not fit into memory
    ├── OutputError          a result that cannot be written
    ├── DownloadError        slides that did not arrive
    └── TooManyFailedError   a data set that lost more slides than max_failed_fraction allows

Every error has a `status` for programs and a message for people, which names the slide, row or key and the remedy.
"""

from enum import StrEnum


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
    NOT_BRIGHTFIELD = "not_brightfield"
    WRONG_FEATURES = "wrong_features"  # features that do not fit the model asked to predict
    OUT_OF_MEMORY = "out_of_memory"


class RoFormerMILError(Exception):
    """Base of all errors that this package raises on purpose."""

    status: str = "error"


class SlideError(RoFormerMILError):
    """One slide cannot be used. Stages record it in the slide table and continue with the others."""

    def __init__(self, status: Status, message: str):
        super().__init__(status, message)  # both are `args`, so that the error can be pickled
        self.status = status

    def __str__(self) -> str:
        return self.args[1]


class ConfigError(RoFormerMILError):
    """The configuration, or an option of a command, cannot be used."""

    status = "config"


class SheetError(RoFormerMILError):
    """A slide sheet has rows that cannot be used."""

    status = "sheet"


class FoldsError(RoFormerMILError):
    """Folds cannot be made from these slides, or given folds do not fit them."""

    status = "folds"


class LeakError(RoFormerMILError):
    """What is tested was seen in training: a patient, or the same slide under another name."""

    status = "leak"


class WeightsError(RoFormerMILError):
    """Weights are missing, damaged or those of another network."""

    status = "weights"


class StoreError(RoFormerMILError):
    """A feature store is missing, damaged or incomplete."""

    status = "store"


class BagError(RoFormerMILError):
    """A bag cannot be fed to a model."""

    status = "bag"


class ModelError(RoFormerMILError):
    """A trained or packaged model is missing, damaged, or was trained on other features than those given."""

    status = "model"


class OutOfMemoryError(RoFormerMILError):
    """Slides do not fit into memory in training or evaluation."""

    status = "out_of_memory"


class OutputError(RoFormerMILError):
    """A result cannot be written: the disk is full, or the folder is read-only."""

    status = "output"


class DownloadError(RoFormerMILError):
    """Slides did not arrive complete. What did arrive is kept, and the next run resumes from there."""

    status = "download"


class TooManyFailedError(RoFormerMILError):
    """More slides of a data set failed than `max_failed_fraction` allows."""

    status = "too_many_failed"
