"""Intervals for means over folds."""

import math

import numpy as np
from scipy.stats import t

ROUND_OFF = 1e-12  # of figures that are equal


def corrected_interval(
    values: np.ndarray, test_to_train: float, level: float = 0.95, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """Interval of a mean over cross-validation folds, corrected for the training slides that folds share.

    values: (k,) one figure a fold; test_to_train: test slides over training slides of a fold.
    Student's t with variance (1/k + test_to_train) s^2 (Nadeau and Bengio, Machine Learning 52, 2003, section 3),
    cut to `bounds`. NaN for fewer than two folds, and for equal ones, which leave no variance to judge by.
    """
    values = values[np.isfinite(values)]
    count = len(values)
    if count < 2 or np.ptp(values) < ROUND_OFF:
        return math.nan, math.nan
    half = t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) * math.sqrt(1 / count + test_to_train)
    return max(bounds[0], values.mean() - half), min(bounds[1], values.mean() + half)
