"""Patient-clustered bootstrap of out-of-fold predictions (Field and Welsh, J. R. Statist. Soc. B 69, 2007: the cluster bootstrap).

The models stay as they were trained; patients are drawn anew, each with all its slides, in whatever folds these are tested.
An interval says how the figure would move with other patients, not with other training runs. It is of the table's own figure,
the mean over folds of this size: an average precision of few positives a fold lies above that of many. How often intervals hold the
truth is measured by benchmarks/coverage.py.
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
Scores = Callable[[np.ndarray, np.ndarray, np.ndarray], Figures]  # of labels, probabilities and weights (R, n)


def resampling_weights(found: OutOfFold, replicates: int = REPLICATES) -> np.ndarray:
    """How often each slide is drawn: (R, n). The same for all models of a data set, so that models can be compared."""
    patients, of_patient = np.unique(found.patients, return_inverse=True)
    rng = np.random.default_rng(derive_seed(found.dataset, "bootstrap"))
    chosen = rng.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=replicates)
    return chosen[:, of_patient].astype(float)


def mean_over_folds(found: OutOfFold, weights: np.ndarray, figures: Scores) -> Figures:
    """Each figure's mean over folds, a replicate: `figures(labels, probabilities, weights)` gives (R, ...) a fold.
    A fold in which it is NaN does not count."""
    folds: dict[str, list[np.ndarray]] = {}
    for fold in np.unique(found.folds):
        here = found.folds == fold
        for name, values in figures(found.labels[here], found.probabilities[here], weights[:, here]).items():
            folds.setdefault(name, []).append(values)
    return {name: _mean(np.stack(values)) for name, values in folds.items()}


def intervals(
    found: OutOfFold,
    figures: Scores,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> Figures:
    """Each figure's interval, (2, ...): low, high. Figures lie between 0 and 1.

    NaN where there is nothing to tell by: most replicates have no value, or all have the same, as those of a perfect figure
    do, or no patient that is left out changes the figure.
    """
    tails = ((1 - level) / 2, (1 + level) / 2)
    middle = mean_over_folds(found, np.ones((1, len(found.labels))), figures)
    drawn, errors = (
        mean_over_folds(found, resampling_weights(found, replicates), figures),
        jackknife_errors(found, figures),
    )
    return {name: _about(middle[name][0], drawn[name], errors[name], tails) for name in drawn}


def _about(figure: np.ndarray, drawn: np.ndarray, error: np.ndarray, tails: tuple[float, float]) -> np.ndarray:
    """The quantiles of what was drawn, moved to lie about the figure and spread to its standard error.

    Moved, as replicates of average precision and F1 are biased, so that quantiles alone miss some figures themselves. Spread, as
    those of average precision over several classes vary too little: a bootstrap's intervals of it hold too seldom (Boyd, Eng and
    Page, ECML 2013; benchmarks/coverage.py).
    """
    offsets, spread = percentile_band(drawn, tails) - _mean(drawn), _spread(drawn)
    varies = (spread > ROUND_OFF) & (error > ROUND_OFF)
    return np.clip(figure + offsets * np.divide(error, spread, out=np.full_like(spread, np.nan), where=varies), 0, 1)


def jackknife_errors(found: OutOfFold, figures: Scores) -> Figures:
    """Each figure's standard error by leaving out a patient at a time (Efron and Stein, Annals of Statistics 9, 1981).

    Rather too large than too small, most where a fold tests one patient of a class: without that one the fold does not count.
    """
    patients, of_patient = np.unique(found.patients, return_inverse=True)
    folds: dict[str, list[np.ndarray]] = {}
    for fold in np.unique(found.folds):  # one at a time: who is not in a fold changes nothing there
        here = found.folds == fold
        inside, of_inside = np.unique(of_patient[here], return_inverse=True)
        weights = np.vstack([np.ones(len(of_inside)), 1 - np.eye(len(inside))[:, of_inside]])
        for name, values in figures(found.labels[here], found.probabilities[here], weights).items():
            without = np.repeat(values[:1], len(patients), axis=0)
            without[inside] = values[1:]
            folds.setdefault(name, []).append(without)
    return {name: _spread(_mean(np.stack(values))) * np.sqrt(len(patients) - 1) for name, values in folds.items()}


def percentile_band(values: np.ndarray, tails: tuple[float, float]) -> np.ndarray:
    """The quantiles `tails` over the first axis: (2, ...). NaN where fewer than half of the replicates have a value."""
    enough = np.isfinite(values).mean(axis=0) >= 0.5
    bounds = np.nanquantile(np.where(enough, values, 0), tails, axis=0)
    return np.where(enough, bounds, np.nan)


def expanded_tails(found: OutOfFold, level: float = LEVEL) -> tuple[float, float]:
    """The quantiles that make a curve's band of this level (Hesterberg, American Statistician 69, 2015, section 5.3).

    Replicates of m independent units vary by (m - 1) / m too little, and Student's t is wider than the normal. A figure of
    one fold rests on its patients, m on average; the mean over folds on all patients.
    """
    folds = len(np.unique(found.folds))
    m = max(2.0, len(set(zip(found.folds.tolist(), found.patients.tolist(), strict=True))) / folds)
    degrees = max(1, len(np.unique(found.patients)) - folds)
    tail = float(norm.cdf(t.ppf((1 - level) / 2, degrees) * np.sqrt(m / (m - 1))))
    return tail, 1 - tail


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, of what is a number; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.divide(np.where(known, values, 0).sum(axis=0), count, out=np.full(count.shape, np.nan), where=count > 0)


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis, of what is a number; NaN where nothing is."""
    return np.sqrt(_mean((values - _mean(values)) ** 2))
