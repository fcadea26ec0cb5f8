"""Confidence intervals of means over folds: over patients, and over folds."""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import t

from roformermil.evaluation.metrics import finite_mean
from roformermil.evaluation.predictions import OutOfFold

LEVEL = 0.95
ROUND_OFF = 1e-12  # values that differ by less are equal
Values = dict[str, np.ndarray]
Statistics = Callable[[np.ndarray, np.ndarray, np.ndarray], Values]  # of labels, probabilities and weights (R, n)


def mean_over_folds(predictions: OutOfFold, statistics: Statistics, weights: np.ndarray | None = None) -> Values:
    """Each statistic's mean over folds, (R, ...), for weights (R, n) of the slides; by default one set of equal weights.

    statistics: gives (R, ...) per fold by name. A fold in which a statistic is NaN does not count.
    """
    weights = np.ones((1, len(predictions.labels))) if weights is None else weights
    labels, probabilities = predictions.labels, predictions.probabilities
    return _mean([statistics(labels[f], probabilities[f], weights[:, f]) for f in predictions.tests])


def _mean(folds: list[Values]) -> Values:
    return {name: finite_mean(np.stack([values[name] for values in folds])) for name in folds[0]}


def patient_intervals(predictions: OutOfFold, statistics: Statistics, level: float = LEVEL) -> Values:
    """The interval of each statistic's mean over folds, (2, ...): mean ± Student's t x jackknife error, cut to 0 to 1.

    It tells how the mean would vary with other patients, not with other training runs. The degrees of freedom are the
    patients less the folds. NaN where leaving out a patient changes nothing, as with a perfect score. How often such intervals
    contain the truth is measured by benchmarks/coverage.py.
    """
    quantile = t.ppf((1 + level) / 2, max(1, len(set(predictions.patients)) - len(predictions.tests)))
    means, errors = mean_over_folds(predictions, statistics), jackknife_errors(predictions, statistics)
    halves = {name: quantile * np.where(error > ROUND_OFF, error, np.nan) for name, error in errors.items()}
    return {name: np.clip([means[name][0] - half, means[name][0] + half], 0, 1) for name, half in halves.items()}


def jackknife_errors(predictions: OutOfFold, statistics: Statistics) -> Values:
    """The standard error of each statistic's mean over folds, from leaving out one patient with all slides at a time.

    Efron and Stein, Annals of Statistics 9, 1981: it is rather too large than too small, most where a fold tests only one
    patient of a class: without that patient the fold does not count.
    """
    patients, numbers = np.unique(predictions.patients, return_inverse=True)
    folds = []
    for tested in predictions.tests:
        inside, rows = np.unique(numbers[tested], return_inverse=True)
        weights = np.vstack([np.ones(len(rows)), 1 - np.eye(len(inside))[:, rows]])
        values = statistics(predictions.labels[tested], predictions.probabilities[tested], weights)
        row_of = np.zeros(len(patients), int)  # patients outside a fold do not change its value, which is in row 0
        row_of[inside] = 1 + np.arange(len(inside))
        folds.append({name: value[row_of] for name, value in values.items()})
    spreads = {name: np.sqrt(finite_mean((mean - finite_mean(mean)) ** 2)) for name, mean in _mean(folds).items()}
    return {name: spread * np.sqrt(len(patients) - 1) for name, spread in spreads.items()}


def corrected_interval(
    values: np.ndarray, test_to_train: float, level: float = LEVEL, bounds: tuple[float, float] = (0.0, 1.0)
) -> tuple[float, float]:
    """The interval of a mean over cross-validation folds, corrected for the training slides that folds share.

    values: (k,) one per fold; test_to_train: test slides over training slides of a fold.
    Student's t with variance (1/k + test_to_train) s^2 (Nadeau and Bengio, Machine Learning 52, 2003, section 3),
    cut to `bounds`. NaN for fewer than two folds, and for equal values, which have no variance.
    """
    values = values[np.isfinite(values)]
    count = len(values)
    if count < 2 or np.ptp(values) < ROUND_OFF:
        return math.nan, math.nan
    half = t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) * math.sqrt(1 / count + test_to_train)
    return max(bounds[0], values.mean() - half), min(bounds[1], values.mean() + half)
