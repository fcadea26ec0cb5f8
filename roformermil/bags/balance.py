"""How training weighs classes of unequal size: in the loss, or by how often their slides are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roformermil.config import Training
from roformermil.errors import ConfigError


@dataclass(frozen=True)
class ClassBalance:
    """The share of each of C classes in the training slides, in what the sampler draws of them, and in the loss."""

    frequencies: np.ndarray  # (C,) of the training slides
    drawn: np.ndarray  # (C,) of the slides drawn in training
    weights: np.ndarray  # (C,) of a slide's loss, mean 1 over the slides drawn

    @property
    def effective(self) -> np.ndarray:
        """(C,) the class frequencies to which training fits probabilities."""
        return self.drawn * self.weights

    @property
    def draws(self) -> np.ndarray:
        """(C,) how often a slide of each class is drawn, relative to every slide once; 0 for a class without training slides."""
        return self._per_frequency(self.drawn)

    @property
    def per_slide(self) -> np.ndarray:
        """(C,) what a slide of each class counts when every slide is drawn once; 0 for a class without training slides."""
        return self._per_frequency(self.effective)

    def _per_frequency(self, shares: np.ndarray) -> np.ndarray:
        known = self.frequencies > 0
        return np.divide(shares, self.frequencies, out=np.zeros(len(known)), where=known)

    @property
    def is_plain(self) -> bool:
        """Whether every slide counts the same."""
        return bool(np.allclose(self.effective, self.frequencies))


def class_balance(labels: Sequence[int] | np.ndarray, n_classes: int, settings: Training) -> ClassBalance:
    """How training on slides of these labels (n,) weighs the classes.

    `balanced` weights are n / (C x slides of the class), as scikit-learn's. Raises ConfigError for a list of weights that is not
    one per class.
    """
    frequencies = np.bincount(labels, minlength=n_classes) / len(labels)
    present = (frequencies > 0) / (frequencies > 0).sum()
    drawn = present if settings.sampler == "balanced" else frequencies
    weights = np.ones(n_classes)
    if settings.class_weights == "balanced":
        weights = np.divide(present, frequencies, out=np.zeros(n_classes), where=frequencies > 0)
    elif settings.class_weights != "none":
        if len(settings.class_weights) != n_classes:
            given = f"has {len(settings.class_weights)} values, but there are {n_classes} classes"
            raise ConfigError(f"training.class_weights {given}")
        weights = np.array(settings.class_weights)
    return ClassBalance(frequencies, drawn, weights / (drawn @ weights))
