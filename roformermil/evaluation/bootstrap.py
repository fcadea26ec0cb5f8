"""Patient-clustered bootstrap of out-of-fold predictions (Field and Welsh, J. R. Statist. Soc. B 69, 2007: the cluster bootstrap).

The models stay as they were trained; patients are drawn anew, each with all its slides, in whatever folds these are tested.
An interval says how the figure would move with other patients, not with other training runs. It is of the table's own figure,
the mean over folds of this size: an average precision of few positives a fold lies above that of many (benchmarks/coverage.py).
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm, t

from roformermil.bags.folds import derive_seed
from roformermil.evaluation.intervals import ROUND_OFF
from roformermil.evaluation.predictions import OutOfFold

REPLICATES = 2000
LEVEL = 0.95
Figures = dict[str, np.ndarray]


def draws(found: OutOfFold, replicates: int = REPLICATES) -> np.ndarray:
    """How often each slide is drawn: (R, n). The same for all models of a data set, so that models can be compared."""
    patients, of_patient = np.unique(found.patients, return_inverse=True)
    rng = np.random.default_rng(derive_seed(found.dataset, "bootstrap"))
    chosen = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=replicates)
    return chosen[:, of_patient].astype(float)


def over_folds(
    found: OutOfFold, weights: np.ndarray, figures: Callable[[np.ndarray, np.ndarray, np.ndarray], Figures]
) -> Figures:
    """Each figure's mean over folds, a replicate: `figures(labels, probabilities, weights)` gives (R, ...) a fold.
    A fold in which it is NaN does not count."""
    folds: dict[str, list[np.ndarray]] = {}
    for fold in np.unique(found.folds):
        here = found.folds == fold
        for name, values in figures(found.labels[here], found.probabilities[here], weights[:, here]).items():
            folds.setdefault(name, []).append(values)
    return {name: _mean(np.stack(values)) for name, values in folds.items()}


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, of what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.divide(np.where(known, values, 0).sum(axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)


def percentile_interval(values: np.ndarray, tails: tuple[float, float]) -> np.ndarray:
    """The quantiles `tails` over the first axis: (2, ...). NaN where they say nothing: all replicates are the same, as those
    of a perfect figure are, and where `percentile_band` is."""
    moves = np.nanmax(values, axis=0, initial=-np.inf) - np.nanmin(values, axis=0, initial=np.inf) > ROUND_OFF
    return np.where(moves, percentile_band(values, tails), np.nan)


def percentile_band(values: np.ndarray, tails: tuple[float, float]) -> np.ndarray:
    """The quantiles `tails` over the first axis: (2, ...). NaN where fewer than half of the replicates have a value."""
    enough = np.isfinite(values).mean(axis=0) >= 0.5
    bounds = np.nanquantile(np.where(enough, values, 0), tails, axis=0)
    return np.where(enough, bounds, np.nan)


def expanded_tails(found: OutOfFold, level: float = LEVEL) -> tuple[float, float]:
    """The quantiles that make an interval of this level (Hesterberg, American Statistician 69, 2015, section 5.3).

    Replicates of m independent units vary by (m - 1) / m too little, and Student's t is wider than the normal. A figure of
    one fold rests on its patients, m on average; the mean over folds on all patients.
    """
    folds = len(np.unique(found.folds))
    m = max(2.0, len(set(zip(found.folds.tolist(), found.patients.tolist(), strict=True))) / folds)
    degrees = max(1, len(np.unique(found.patients)) - folds)
    tail = float(norm.cdf(t.ppf((1 - level) / 2, degrees) * np.sqrt(m / (m - 1))))
    return tail, 1 - tail
