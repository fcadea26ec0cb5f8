"""What can go wrong, by name.

Every error carries a `reason` that a program can read and a message that tells a person which slide, row or key
is meant and what to do about it.
"""

from enum import StrEnum


class Reason(StrEnum):
    """Names of failures. A slide's failure is its `status` in `slides.csv`."""

    # a slide
    EMPTY = "empty"  # no tissue, or no tile with enough of it
    EXCLUDED = "excluded"  # by the slide sheet, which says why
    MISSING = "missing"
    EMPTY_FILE = "empty_file"
    UNREADABLE = "unreadable"
    READ_FAILED = "read_failed"
    TIMED_OUT = "timed_out"  # its file stood still for longer than `slide_timeout`
    CRASHED = "crashed"  # the library that read it died
    CHANGED = "changed"  # its file became another while the slide was worked on
    NEEDS_TIATOOLBOX = "needs_tiatoolbox"
    NO_MPP = "no_mpp"
    ABSURD_MPP = "absurd_mpp"
    ANISOTROPIC = "anisotropic"
    ABSURD_SIZE = "absurd_size"
    TOO_COARSE = "too_coarse"
    NOT_BRIGHTFIELD = "not_brightfield"
    # a request
    CONFIG = "config"
    SHEET = "sheet"
    FOLDS = "folds"
    LEAK = "leak"
    MODEL = "model"
    WEIGHTS = "weights"
    STORE = "store"
    BAG = "bag"
    OUT_OF_MEMORY = "out_of_memory"  # also a slide's, when reading it takes more than a slide may
    OUTPUT = "output"
    DOWNLOAD = "download"
    TOO_MANY_FAILED = "too_many_failed"


class RoFormerMILError(Exception):
    """Base of all errors that this package raises on purpose."""

    def __init__(self, reason: Reason, message: str):
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple:  # errors travel between processes; subclasses take other arguments
        return _restore, (type(self), self.reason, str(self))


def _restore(cls: type[RoFormerMILError], reason: Reason, message: str) -> RoFormerMILError:
    error = cls.__new__(cls)
    RoFormerMILError.__init__(error, reason, message)
    return error


class SlideError(RoFormerMILError):
    """One slide cannot be used. Stages turn it into a row of their status table."""


class ConfigError(RoFormerMILError):
    """The configuration asks for something that does not exist."""

    def __init__(self, message: str):
        super().__init__(Reason.CONFIG, message)


class SheetError(RoFormerMILError):
    """A slide sheet has a row that cannot be used."""

    def __init__(self, message: str):
        super().__init__(Reason.SHEET, message)


class FoldsError(RoFormerMILError):
    """Folds cannot be made, or leak."""

    def __init__(self, message: str):
        super().__init__(Reason.FOLDS, message)


class LeakError(RoFormerMILError):
    """What is tested was seen in training: a patient, or the same slide under another name."""

    def __init__(self, message: str):
        super().__init__(Reason.LEAK, message)


class WeightsError(RoFormerMILError):
    """Encoder weights are missing, damaged or of another network."""

    def __init__(self, message: str):
        super().__init__(Reason.WEIGHTS, message)


class StoreError(RoFormerMILError):
    """A feature store is missing, incomplete or of another shape than asked for."""

    def __init__(self, message: str):
        super().__init__(Reason.STORE, message)


class BagError(RoFormerMILError):
    """A bag cannot be fed to a model."""

    def __init__(self, message: str):
        super().__init__(Reason.BAG, message)


class ModelError(RoFormerMILError):
    """A trained model is missing, damaged, or asked about features that it was not trained on."""

    def __init__(self, message: str):
        super().__init__(Reason.MODEL, message)


class OutOfMemoryError(RoFormerMILError):
    """Slides do not fit into memory as they are trained or evaluated."""

    def __init__(self, message: str):
        super().__init__(Reason.OUT_OF_MEMORY, message)


class OutputError(RoFormerMILError):
    """A result cannot be written: the disk is full, or the folder is not ours to write to."""

    def __init__(self, message: str):
        super().__init__(Reason.OUTPUT, message)


class DownloadError(RoFormerMILError):
    """Slides did not arrive whole; what did is kept, and the next run goes on from there."""

    def __init__(self, message: str):
        super().__init__(Reason.DOWNLOAD, message)


class TooManyFailedError(RoFormerMILError):
    """More slides of a data set failed than `max_failed_fraction` allows."""

    def __init__(self, message: str):
        super().__init__(Reason.TOO_MANY_FAILED, message)


def some_of(names: list[str], shown: int = 5) -> str:
    """The first of many names, for a message."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
