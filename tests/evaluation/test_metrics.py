import math

import numpy as np
import pytest

from roformermil.evaluation.metrics import METRICS, compute_metrics

LABELS = np.array([0, 0, 1, 1])
POSITIVE = np.array([0.1, 0.4, 0.35, 0.8])  # scikit-learn's documented example: AUROC 0.75, average precision 0.83


def test_two_classes_by_hand():
    values = compute_metrics(LABELS, np.stack([1 - POSITIVE, POSITIVE], axis=1))
    assert tuple(values) == METRICS
    assert values["auroc"] == 0.75
    assert values["average_precision"] == pytest.approx(5 / 6)
    assert values["accuracy"] == values["balanced_accuracy"] == 0.75
    assert values["f1"] == pytest.approx(2 / 3)


def test_more_classes_are_one_against_the_rest():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]])
    values = compute_metrics(np.array([0, 1, 2, 2]), probabilities)
    assert values["auroc"] == pytest.approx((1 + 1 + 1) / 3)
    assert values["accuracy"] == 0.75
    assert values["f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_a_class_without_slides_has_no_ranking():
    values = compute_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert math.isnan(values["auroc"])
    assert math.isnan(values["average_precision"])
    assert values["accuracy"] == values["balanced_accuracy"] == 0.5


@pytest.mark.filterwarnings("error")
def test_classes_that_are_only_guessed_warn_of_nothing():
    compute_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.1, 0.9]]))
    compute_metrics(np.array([1, 1, 0]), np.array([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.6, 0.2, 0.2]]))
