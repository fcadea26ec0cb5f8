"""Whether probabilities mean what they say: reliability curve, expected calibration error, confusion matrix."""

import numpy as np
import pandas as pd

from roformermil.evaluation.predictions import KEYS, OutOfFold

BINS = 10


def confidence(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was claimed and whether it came true, (n,) each: with two classes the positive one's probability, with more the
    most probable class's."""
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], labels == 1
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """The reliability curve in `bins` bins of equal width: `low, high, slides, claimed, observed`, bins without slides left
    out. claimed: mean probability of a bin's slides; observed: the fraction of them for which it came true."""
    claimed, came_true = confidence(labels, probabilities)
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], claimed)  # an edge belongs to the bin below it
    rows = [
        (k / bins, (k + 1) / bins, int((bin_of == k).sum()), claimed[bin_of == k].mean(), came_true[bin_of == k].mean())
        for k in np.unique(bin_of)
    ]
    return pd.DataFrame(rows, columns=["low", "high", "slides", "claimed", "observed"])


def calibration_error(curve: pd.DataFrame) -> float:
    """Expected calibration error: |claimed - observed| averaged over slides (Guo et al. 2017, arXiv 1706.04599, equation 3;
    with two classes of the positive one's probability, not of the decision's, as the curve is)."""
    return float(np.average((curve.claimed - curve.observed).abs(), weights=curve.slides))


def calibration_table(found: list[OutOfFold]) -> pd.DataFrame:
    """Every model's reliability curve over all slides out of fold, its calibration error in each row as `ece`."""
    curves = []
    for one in map(OutOfFold.once, found):
        curve = reliability(one.labels, one.probabilities)
        curves.append(curve.assign(**dict(zip(KEYS, one.key, strict=True)), ece=calibration_error(curve)))
    table = pd.concat(curves)
    return table[[*KEYS, "ece", "low", "high", "slides", "claimed", "observed"]]


def confusion(found: list[OutOfFold]) -> pd.DataFrame:
    """Out-of-fold slides by label and most probable class: `label, predicted, slides`, pairs that never were included."""
    rows = []
    for one in map(OutOfFold.once, found):
        counts = np.zeros((len(one.classes), len(one.classes)), int)
        np.add.at(counts, (one.labels, one.probabilities.argmax(axis=1)), 1)
        rows += [
            (*one.key, label, predicted, counts[i, j])
            for i, label in enumerate(one.classes)
            for j, predicted in enumerate(one.classes)
        ]
    return pd.DataFrame(rows, columns=[*KEYS, "label", "predicted", "slides"])
