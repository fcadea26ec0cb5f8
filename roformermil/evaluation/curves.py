"""ROC and precision-recall curves, averaged over seeds and folds as their areas are, with bootstrap bands.

The bootstrap draws patients with all their slides, in whatever folds these are tested (the cluster bootstrap: Field and
Welsh, J. R. Statist. Soc. B 69, 2007). The models stay as they were trained.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

from roformermil.bags.folds import derive_seed
from roformermil.evaluation.intervals import LEVEL, degrees_of_freedom, mean_over_folds
from roformermil.evaluation.predictions import OutOfFold
from roformermil.tasks.class_metrics import weights_above_thresholds

POINTS = np.linspace(0, 1, 101)  # false positive rates, or recalls
REPLICATES = 500  # a band is a picture: no number is quoted from it


class Curve(NamedTuple):
    """A curve over POINTS and its pointwise 95% band."""

    middle: np.ndarray  # (101,)
    low: np.ndarray
    high: np.ndarray


def curves(predictions: OutOfFold, positive: int = 1) -> dict[str, Curve]:
    """`roc` (true positive rate at false positive rates) and `pr` (precision at recalls) of one class against the rest.

    Vertical averages over folds (Fawcett, Pattern Recognition Letters 27, 2006, section 7.1).
    """

    def values(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        return weighted_curves(labels == positive, probabilities[:, positive], weights)

    middle = mean_over_folds(predictions, values)
    replicates = mean_over_folds(predictions, values, resampling_weights(predictions))
    tails = expanded_tails(predictions)
    return {name: Curve(middle[name][0], *percentile_band(replicates[name], tails)) for name in middle}


def weighted_curves(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """`roc` and `pr`, (R, 101) each, of n slides with weights (R, n); NaN where the weights lack a class."""
    hits, false_alarms = weights_above_thresholds(truth, scores, weights)
    roc, pr = np.full((2, len(weights), len(POINTS)), np.nan)
    for r in np.flatnonzero((hits[:, -1] > 0) & (false_alarms[:, -1] > 0)):
        recall, fall_out = hits[r] / hits[r, -1], false_alarms[r] / false_alarms[r, -1]
        roc[r] = np.interp(POINTS, np.append(0, fall_out), np.append(0, recall))
        above = hits[r] + false_alarms[r]
        precision = np.divide(hits[r], above, out=np.zeros_like(above), where=above > 0)
        first = np.searchsorted(recall, np.maximum(POINTS, 1e-9) - 1e-12)  # the first threshold of this recall
        pr[r] = precision[first]
    return {"roc": roc, "pr": pr}


def resampling_weights(predictions: OutOfFold, replicates: int = REPLICATES) -> np.ndarray:
    """How often each replicate draws each slide: (R, n). The same for all models of a data set."""
    patients, numbers = np.unique(predictions.patients, return_inverse=True)
    rng = np.random.default_rng(derive_seed(predictions.dataset, "bootstrap"))
    draws = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=replicates)
    return draws[:, numbers].astype(float)


def percentile_band(values: np.ndarray, tails: tuple[float, float]) -> np.ndarray:
    """The quantiles `tails` over the first axis: (2, ...). NaN where fewer than half of the replicates have a value."""
    enough = np.isfinite(values).mean(axis=0) >= 0.5
    bounds = np.nanquantile(np.where(enough, values, 0), tails, axis=0)
    return np.where(enough, bounds, np.nan)


def expanded_tails(predictions: OutOfFold) -> tuple[float, float]:
    """The quantiles for a 95% band with few patients (Hesterberg, American Statistician 69, 2015, section 5.3).

    Replicates of m independent units vary too little, by (m - 1) / m, and Student's t, with the intervals' degrees of freedom, is wider
    than the normal. m is the mean number of patients per fold.
    """
    m = max(2.0, float(np.mean([len(set(predictions.patients[tested])) for tested in predictions.tests])))
    quantile = t.ppf((1 - LEVEL) / 2, degrees_of_freedom(predictions))
    tail = float(norm.cdf(quantile * np.sqrt(m / (m - 1))))
    return tail, 1 - tail
