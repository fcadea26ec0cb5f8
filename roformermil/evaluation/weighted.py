"""The metrics with a weight a slide, for all replicates of a bootstrap at once: R replicates of n slides, C classes.

A slide that was drawn twice weighs 2. Each figure equals scikit-learn's with `sample_weight` (tests/evaluation/test_weighted.py).
"""

import numpy as np

CLASS_METRICS = ("auroc", "average_precision", "recall", "precision", "f1")


def weighted_scores(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """`metrics.METRICS` by name, (R,) each, from weights (R, n). NaN where a replicate lacks a class that the metric needs."""
    of_class = class_scores(labels, probabilities, weights)
    accuracy = _share(weights, probabilities.argmax(axis=1) == labels)
    positive = slice(1, 2) if probabilities.shape[1] == 2 else slice(None)  # of two classes, the second
    complete = _complete(labels, probabilities.shape[1], weights)
    with np.errstate(invalid="ignore"):
        return {
            "auroc": np.where(complete, of_class["auroc"][:, positive].mean(axis=1), np.nan),
            "average_precision": np.where(complete, of_class["average_precision"][:, positive].mean(axis=1), np.nan),
            "accuracy": accuracy,
            "balanced_accuracy": _mean_known(of_class["recall"]),
            "f1": of_class["f1"][:, positive].mean(axis=1),
        }


def class_scores(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """CLASS_METRICS by name, (R, C) each: a class against the rest. The decision is the most probable class."""
    decided = probabilities.argmax(axis=1)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in CLASS_METRICS}
    for c in range(probabilities.shape[1]):
        truth = labels == c
        hits = weights @ (truth & (decided == c)).astype(float)  # (R,)
        real, said = weights @ truth.astype(float), weights @ (decided == c).astype(float)
        columns["auroc"].append(_auroc(truth, probabilities[:, c], weights))
        columns["average_precision"].append(_average_precision(truth, probabilities[:, c], weights))
        columns["recall"].append(_ratio(hits, real))
        columns["precision"].append(_ratio(hits, said))
        columns["f1"].append(np.where(real > 0, _ratio(2 * hits, real + said), np.nan))  # a class that was drawn
    return {name: np.stack(values, axis=1) for name, values in columns.items()}


def _auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of pairs of a positive and a negative that are in order; a tie counts half."""
    positive, negative = scores[truth], scores[~truth]
    order = np.sign(positive[:, None] - negative[None, :]) / 2 + 0.5  # (P, N)
    pairs = ((weights[:, truth] @ order) * weights[:, ~truth]).sum(axis=1)
    return _ratio(pairs, weights[:, truth].sum(axis=1) * weights[:, ~truth].sum(axis=1))


def _average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over thresholds of precision times the step in recall."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)  # one threshold a score
    drawn, hits = weights[:, order].cumsum(axis=1)[:, last], (weights * truth)[:, order].cumsum(axis=1)[:, last]
    steps = np.diff(hits, axis=1, prepend=0)
    found = _ratio((np.nan_to_num(_ratio(hits, drawn)) * steps).sum(axis=1), (weights * truth).sum(axis=1))
    return np.where((weights * ~truth).sum(axis=1) > 0, found, np.nan)  # 1 without negatives, whatever the scores


def _share(weights: np.ndarray, which: np.ndarray) -> np.ndarray:
    return _ratio(weights @ which.astype(float), weights.sum(axis=1))


def _complete(labels: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """(R,) whether every class was drawn."""
    return np.all([weights[:, labels == c].sum(axis=1) > 0 for c in range(classes)], axis=0)


def _mean_known(values: np.ndarray) -> np.ndarray:
    """Mean over classes, of those that are there."""
    known = np.isfinite(values)
    return _ratio(np.where(known, values, 0).sum(axis=1), known.sum(axis=1).astype(float))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.broadcast_shapes(above.shape, below.shape), np.nan), where=below > 0)
