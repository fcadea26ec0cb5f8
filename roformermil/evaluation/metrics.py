"""Figures of merit from labels and probabilities. With two classes, the second is the positive one."""

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    recall_score,
    roc_auc_score,
)

PROBABILITY_PREFIX = "probability_"  # and the class's name, in every table of predictions
METRICS = ("auroc", "average_precision", "accuracy", "balanced_accuracy", "f1")


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve; more than two classes: mean of one against the rest.

    labels: (n,) class indices; probabilities: (n, C). NaN when a class has no slide.
    """
    return _ranking(roc_auc_score, labels, probabilities)


def average_precision(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Average precision; more than two classes: mean of one against the rest. NaN when a class has no slide."""
    return _ranking(average_precision_score, labels, probabilities)


def compute_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """All METRICS. The decision is the most probable class; f1 is the positive class's, or the classes' mean, NaN where such a
    class has no slide.

    labels: (n,) class indices; probabilities: (n, C).
    """
    decided = probabilities.argmax(axis=1)
    counted = [1] if probabilities.shape[1] == 2 else list(range(probabilities.shape[1]))
    f1 = (
        f1_score(labels, decided, labels=counted, average="macro", zero_division=0)
        if np.isin(counted, labels).all()
        else np.nan
    )
    return {
        "auroc": auroc(labels, probabilities),
        "average_precision": average_precision(labels, probabilities),
        "accuracy": float(accuracy_score(labels, decided)),
        "balanced_accuracy": float(recall_score(labels, decided, labels=np.unique(labels), average="macro")),
        "f1": float(f1),
    }


def _ranking(metric, labels: np.ndarray, probabilities: np.ndarray) -> float:
    count = probabilities.shape[1]
    if len(np.unique(labels)) < count:
        return float("nan")
    columns = [1] if count == 2 else range(count)
    return float(np.mean([metric(labels == c, probabilities[:, c]) for c in columns]))
