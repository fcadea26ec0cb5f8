"""Confidence intervals of means over folds: over patients, and over folds."""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import t

from roformermil.evaluation.predictions import OutOfFold
from roformermil.tasks.base import Values
from roformermil.tasks.class_metrics import finite_mean

LEVEL = 0.95
# metrics to which a patient of any group contributes alike
OF_EACH_PATIENT = frozenset({"accuracy", "precision", "recall", "log_loss", "brier"})
ROUND_OFF = 1e-12  # values that differ by less are equal
Statistics = Callable[[np.ndarray, np.ndarray, np.ndarray], Values]  # of targets, predictions and weights (R, n)


def mean_over_folds(model: OutOfFold, statistics: Statistics, weights: np.ndarray | None = None) -> Values:
    """Each statistic's mean over seeds, then over folds, (R, ...), for weights (R, n) of the predictions; by default one set of
    equal weights.

    statistics: gives (R, ...) per training by name. A training in which a statistic is NaN does not count.
    """
    weights = np.ones((1, len(model.targets))) if weights is None else weights
    targets, predictions = model.targets, model.predictions
    return _mean(model, [statistics(targets[f], predictions[f], weights[:, f]) for f in model.tests])


def _mean(model: OutOfFold, runs: list[Values]) -> Values:
    """The mean over seeds, then over folds, of what each training gives."""
    folds: dict[int, list[Values]] = {}
    for (fold, _), values in zip(model.runs, runs, strict=True):
        folds.setdefault(fold, []).append(values)
    means = [{name: _stacked_mean(group, name) for name in group[0]} for group in folds.values()]
    return {name: _stacked_mean(means, name) for name in means[0]}


def _stacked_mean(values: list[Values], name: str) -> np.ndarray:
    return finite_mean(np.stack([one[name] for one in values]))


def patient_intervals(model: OutOfFold, statistics: Statistics, level: float = LEVEL) -> Values:
    """The interval of each statistic's mean over folds, (2, ...): mean ± Student's t x jackknife error, cut to what the statistic
    can be.

    It tells how the mean would vary with other patients, not with other training runs. NaN where leaving out a patient changes
    nothing, as with a perfect score. How often such intervals contain the truth is measured by benchmarks/coverage.py.
    """
    left_out = leave_patients_out(model, statistics)
    return {
        name: jackknife_interval(values, degrees_of_freedom(model, name), level, model.task.bounds_of(name))
        for name, values in left_out.items()
    }


def degrees_of_freedom(model: OutOfFold, metric: str = "") -> int:
    """Of intervals over patients: their number less that of the folds which test each of them once.

    Where all are tested together, as in an external data set, and the metric compares groups of the task, the number of patients
    of the smallest group less one: a few positive patients among many negative ones decide how uncertain an AUROC is.
    """
    if not (model.trained_on or model.fold_count == 1):
        return max(1, len(set(model.patients)) - (model.folds_per_repeat or model.fold_count))
    groups = [] if metric in OF_EACH_PATIENT else model.task.groups(model.targets).values()
    sizes = [len(set(model.patients[rows])) for rows in groups if rows.any()]
    return max(1, min(sizes, default=len(set(model.patients))) - 1)


def leave_patients_out(model: OutOfFold, statistics: Statistics) -> Values:
    """Each statistic's mean over folds of all patients, then without each of the I patients with all slides: (1 + I, ...).

    Patients are in the order of their ids, so that two such arrays of the same slides can be subtracted.
    """
    patients, numbers = np.unique(model.patients, return_inverse=True)
    runs = []
    for tested in model.tests:
        inside, rows = np.unique(numbers[tested], return_inverse=True)
        weights = np.vstack([np.ones(len(rows)), 1 - np.eye(len(inside))[:, rows]])
        values = statistics(model.targets[tested], model.predictions[tested], weights)
        row_of = np.zeros(1 + len(patients), int)  # patients outside a fold do not change its value, which is in row 0
        row_of[1 + inside] = 1 + np.arange(len(inside))
        runs.append({name: value[row_of] for name, value in values.items()})
    return _mean(model, runs)


def jackknife_error(left_out: np.ndarray) -> np.ndarray:
    """The standard error of a mean over folds from leaving out one patient at a time. left_out: as of `leave_patients_out`.

    Efron and Stein, Annals of Statistics 9, 1981: it is rather too large than too small, most where a fold tests only one
    patient of a class: without that patient the fold does not count. Infinite where the metric is undefined without some
    patient: with one patient of a class, nothing tells how others of the class would be predicted.
    """
    without = left_out[1:]
    error = np.sqrt(np.mean((without - without.mean(axis=0)) ** 2, axis=0)) * np.sqrt(len(without) - 1)
    return np.where(np.isnan(error) & np.isfinite(left_out[0]), np.inf, error)


def jackknife_interval(
    left_out: np.ndarray, degrees: int, level: float = LEVEL, bounds: tuple[float, float] = (0.0, 1.0)
) -> np.ndarray:
    """The value of all patients ± Student's t x jackknife error, cut to `bounds`: (2, ...). NaN where the error is 0, and where it is
    infinite and the metric has no bounds."""
    error = jackknife_error(left_out)
    half = t.ppf((1 + level) / 2, degrees) * np.where(error > ROUND_OFF, error, np.nan)
    interval = np.clip([left_out[0] - half, left_out[0] + half], *bounds)
    return np.where(np.isfinite(interval).all(axis=0), interval, np.nan)


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
