"""One fold of one model: fit, stop early, keep the best epoch, predict every part."""

from roformermil.training.fit import Fit
from roformermil.training.fold import train_fold, try_fold
from roformermil.training.fold_model import TrainingJob

__all__ = ["Fit", "TrainingJob", "train_fold", "try_fold"]
