"""ROC and precision-recall curves, averaged over folds as the areas are, with a bootstrap band."""

from dataclasses import dataclass

import numpy as np

from roformermil.evaluation.bootstrap import expanded_tails, mean_over_folds, percentile_band, resampling_weights
from roformermil.evaluation.predictions import OutOfFold

POINTS = np.linspace(0, 1, 101)  # false positive rate, or recall
REPLICATES = 500  # of a band, which is looked at and not quoted


@dataclass(frozen=True)
class Curve:
    """A curve over POINTS and its pointwise 95% band."""

    middle: np.ndarray  # (101,)
    low: np.ndarray
    high: np.ndarray


def curves(found: OutOfFold, positive: int = 1) -> dict[str, Curve]:
    """`roc` (true positive rate at false positive rates) and `pr` (precision at recalls) of one class against the rest:
    vertical averages over folds (Fawcett, Pattern Recognition Letters 27, 2006, section 7.1)."""

    def figures(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        truth = labels == positive
        order = np.argsort(-probabilities[:, positive], kind="stable")
        last = np.append(np.diff(probabilities[order, positive]) != 0, True)  # one threshold a score
        hits = (weights * truth)[:, order].cumsum(axis=1)[:, last]
        alarms = (weights * ~truth)[:, order].cumsum(axis=1)[:, last]
        roc, pr = np.full((2, len(weights), len(POINTS)), np.nan)
        for r in np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0)):
            recall, fall_out = hits[r] / hits[r, -1], alarms[r] / alarms[r, -1]
            roc[r] = np.interp(POINTS, np.append(0, fall_out), np.append(0, recall))
            drawn = hits[r] + alarms[r]
            precision = np.divide(hits[r], drawn, out=np.zeros_like(drawn), where=drawn > 0)
            reached = np.searchsorted(recall, np.maximum(POINTS, 1e-9) - 1e-12)  # the first threshold with this recall
            pr[r] = precision[reached]
        return {"roc": roc, "pr": pr}

    middle = mean_over_folds(found, np.ones((1, len(found.labels))), figures)
    drawn = mean_over_folds(found, resampling_weights(found, REPLICATES), figures)
    tails = expanded_tails(found)
    return {name: Curve(middle[name][0], *percentile_band(drawn[name], tails)) for name in ("roc", "pr")}
