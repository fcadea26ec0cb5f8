"""Metrics from labels and probabilities, of C classes; with two, the second is the positive one.

They are for R sets of weights of n slides at once: 1 for each slide, how often a bootstrap replicate draws it, or 0 for slides
that the jackknife leaves out. Each equals scikit-learn's with `sample_weight` (tests/tasks/test_class_metrics.py); scikit-learn
takes one set at a time, and a second to import in every job that trains.
"""

import numpy as np

CLASS_METRICS = ("auroc", "average_precision", "recall", "precision", "f1")


def counted_classes(probabilities: np.ndarray) -> list[int]:
    """The classes whose one-against-the-rest metrics are averaged: of two the second, of more all."""
    return [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))


def weighted_metrics(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of a classification by name, (R,) each, of labels (n,), class indices, and probabilities (n, C), for weights (R, n).

    AUROC, average precision and F1 are those of the positive class, or means over more than two. NaN where the weights lack a
    class that the metric needs.
    """
    by_class = class_metrics(labels, probabilities, weights)
    counted = slice(1, 2) if probabilities.shape[1] == 2 else slice(None)
    complete = np.all([weights[:, labels == c].sum(axis=1) > 0 for c in range(probabilities.shape[1])], axis=0)
    correct = weights @ (probabilities.argmax(axis=1) == labels).astype(float)
    return {
        "auroc": np.where(complete, by_class["auroc"][:, counted].mean(axis=1), np.nan),
        "average_precision": np.where(complete, by_class["average_precision"][:, counted].mean(axis=1), np.nan),
        "accuracy": _ratio(correct, weights.sum(axis=1)),
        "balanced_accuracy": by_class["recall"].mean(axis=1),
        "f1": by_class["f1"][:, counted].mean(axis=1),
    }


def class_metrics(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """CLASS_METRICS by name, (R, C) each: a class against the rest. The decision is the most probable class."""
    decisions = probabilities.argmax(axis=1)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in CLASS_METRICS}
    for c in range(probabilities.shape[1]):
        truth = labels == c
        hits = weights @ (truth & (decisions == c)).astype(float)  # (R,)
        actual, predicted = weights @ truth.astype(float), weights @ (decisions == c).astype(float)
        above = weights_above_thresholds(truth, probabilities[:, c], weights)
        columns["auroc"].append(_auroc(*above))
        columns["average_precision"].append(_average_precision(*above))
        columns["recall"].append(_ratio(hits, actual))
        columns["precision"].append(_ratio(hits, predicted))
        columns["f1"].append(np.where(actual > 0, _ratio(2 * hits, actual + predicted), np.nan))
    return {name: np.stack(values, axis=1) for name, values in columns.items()}


def weights_above_thresholds(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of positive and of negative slides at or above each of T thresholds, the highest first: (R, T) each."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # one threshold per score
    return tuple((weights * rows)[:, order].cumsum(axis=1)[:, last] for rows in (truth, ~truth))


def finite_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """The mean over an axis of the values that are numbers; NaN where none is."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=axis), known.sum(axis=axis).astype(float))


def _auroc(hits: np.ndarray, false_alarms: np.ndarray) -> np.ndarray:
    """The share of pairs of a positive and a negative slide that are in order; a tie counts half."""
    higher = hits - np.diff(hits, axis=1, prepend=0) / 2  # positive slides above the negative ones of each threshold
    pairs = (np.diff(false_alarms, axis=1, prepend=0) * higher).sum(axis=1)
    return _ratio(pairs, hits[:, -1] * false_alarms[:, -1])


def _average_precision(hits: np.ndarray, false_alarms: np.ndarray) -> np.ndarray:
    """The sum over thresholds of precision times the increase in recall; NaN without a negative slide: it would be 1."""
    increases = np.diff(hits, axis=1, prepend=0)
    precision = np.nan_to_num(_ratio(hits, hits + false_alarms))
    return np.where(false_alarms[:, -1] > 0, _ratio((precision * increases).sum(axis=1), hits[:, -1]), np.nan)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.broadcast_shapes(above.shape, below.shape), np.nan), where=below > 0)
