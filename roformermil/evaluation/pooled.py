"""The AUROC of all test slides of all folds together, for folds that test too few patients for one of their own."""

from itertools import product

import numpy as np

from roformermil.evaluation.predictions import OutOfFold
from roformermil.tasks.class_metrics import counted_classes, finite_mean

POOLED = "pooled_auroc"


def pooled_auroc(model: OutOfFold) -> np.ndarray:
    """The pooled AUROC, mean over repeats and seeds, of all patients and then without each of the I patients: (1 + I,).

    Scores of different models are ranked together, so it also falls where folds' models differ in calibration. With more
    than two classes, it is the mean of each against the rest; NaN where a class has no slide. Patients are in the order of
    `leave_patients_out`.
    """
    patients, numbers = np.unique(model.patients, return_inverse=True)
    by_run, repeats = [], model.repeats
    for seed, repeat in product(np.unique(model.seeds), np.unique(repeats)):
        rows = (model.seeds == seed) & (repeats == repeat)
        labels, scores = model.targets[rows], model.predictions[rows]
        areas = [
            auroc_without_each(labels == c, scores[:, c], numbers[rows], len(patients)) for c in counted_classes(scores)
        ]
        by_run.append(np.mean(areas, axis=0))
    return finite_mean(np.stack(by_run))


def auroc_without_each(truth: np.ndarray, scores: np.ndarray, clusters: np.ndarray, count: int) -> np.ndarray:
    """The AUROC of n slides, and without the slides of each of `count` clusters: (1 + count,), in O(n log n).

    truth: (n,) bool; scores: (n,); clusters: (n,) from 0 to count - 1. NaN where a class has no slide.
    """
    above = _wins(scores[truth], scores[~truth])  # (P,) negatives below each positive; a tie counts half
    below = _wins(-scores[~truth], -scores[truth])  # (N,) positives above each negative
    positives, negatives = (np.bincount(clusters[rows], minlength=count).astype(float) for rows in (truth, ~truth))
    lost = np.bincount(clusters[truth], above, count) + np.bincount(clusters[~truth], below, count)
    for cluster in np.flatnonzero((positives > 0) & (negatives > 0)):  # its own pairs are in both sums
        own = clusters == cluster
        lost[cluster] -= _wins(scores[own & truth], scores[own & ~truth]).sum()
    won = above.sum() - np.append(0, lost)
    pairs = (truth.sum() - np.append(0, positives)) * ((~truth).sum() - np.append(0, negatives))
    return np.divide(won, pairs, out=np.full(1 + count, np.nan), where=pairs > 0)


def _wins(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How many of the others each score exceeds; a tie counts half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")) / 2
