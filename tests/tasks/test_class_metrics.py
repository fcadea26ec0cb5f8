import math
from itertools import product

import numpy as np
import pytest
from sklearn import metrics

from roformermil.tasks import CLASSIFICATION
from roformermil.tasks.class_metrics import class_metrics, weighted_metrics
from tests.factories import class_scores


def test_metrics_of_two_classes_by_hand():
    """scikit-learn's documented example: AUROC 0.75, average precision 0.83."""
    positive = np.array([0.1, 0.4, 0.35, 0.8])
    values = CLASSIFICATION.compute_metrics(np.array([0, 0, 1, 1]), np.stack([1 - positive, positive], axis=1))
    assert tuple(values) == tuple(CLASSIFICATION.metrics)
    assert tuple(values.values()) == pytest.approx((0.75, 5 / 6, 0.75, 0.75, 2 / 3))


def test_metrics_of_more_classes_are_means_of_each_against_the_rest():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.3, 0.5, 0.2], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]])
    values = CLASSIFICATION.compute_metrics(np.array([0, 1, 2, 2]), probabilities)
    assert values["auroc"] == pytest.approx((1 + 1 + 1) / 3) and values["accuracy"] == 0.75
    assert values["f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)


def test_without_slides_of_a_class_accuracy_alone_is_left():
    values = CLASSIFICATION.compute_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]))
    assert math.isnan(values["auroc"]) and math.isnan(values["average_precision"])
    nothing = CLASSIFICATION.compute_metrics(np.zeros(0, int), np.zeros((0, 2)))
    assert nothing.keys() == values.keys() and all(map(math.isnan, nothing.values()))
    assert values["accuracy"] == 0.5 and math.isnan(values["balanced_accuracy"])


@pytest.mark.filterwarnings("error")
def test_classes_that_are_predicted_but_not_present_give_no_warning():
    CLASSIFICATION.compute_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.1, 0.9]]))
    CLASSIFICATION.compute_metrics(np.array([1, 1, 0]), np.array([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.6, 0.2, 0.2]]))


@pytest.fixture(params=[2, 3])
def weighted_slides(request, simulate):
    predictions = simulate(request.param, classes=request.param)
    weights = np.random.default_rng(1).integers(0, 4, (20, len(predictions.targets))).astype(float)
    return predictions.targets, predictions.predictions, weights


def test_weighted_metrics_of_each_class_are_scikit_learns(weighted_slides):
    labels, probabilities, weights = weighted_slides
    actual, decisions = class_metrics(*weighted_slides), probabilities.argmax(axis=1)
    for (r, w), c in product(enumerate(weights), range(probabilities.shape[1])):
        expected = class_scores(labels == c, decisions == c, probabilities[:, c], w)
        assert {name: values[r, c] for name, values in actual.items()} == pytest.approx(expected)


def test_weighted_metrics_over_classes_are_scikit_learns(weighted_slides):
    labels, probabilities, weights = weighted_slides
    actual, decisions = weighted_metrics(*weighted_slides), probabilities.argmax(axis=1)
    accuracies = [metrics.accuracy_score(labels, decisions, sample_weight=w) for w in weights]
    recalls = [metrics.recall_score(labels, decisions, sample_weight=w, average="macro") for w in weights]
    assert actual["accuracy"] == pytest.approx(accuracies) and actual["balanced_accuracy"] == pytest.approx(recalls)


def test_weights_without_a_class_or_its_negatives_have_no_metric_that_needs_them():
    labels, probabilities = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    actual = weighted_metrics(labels, probabilities, np.array([[0, 1, 1], [2, 0, 0]]).astype(float))
    assert np.isnan(actual["auroc"]).all() and actual["accuracy"].tolist() == [0.5, 1.0]
    assert actual["f1"][0] == pytest.approx(2 / 3) and np.isnan(actual["f1"][1])
    only_b = class_metrics(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]), np.ones((1, 2)))
    assert np.isnan(only_b["average_precision"]).all()


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 2, 2], [1, 2, 2], [0, 1, 2] * 20])
@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_are_scikit_learns_also_with_ties_and_without_a_class(labels, classes):
    labels = np.minimum(labels, classes - 1)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(classes), len(labels)).round(2)
    decisions, counted = probabilities.argmax(axis=1), [1] if classes == 2 else [0, 1, 2]
    nan = dict.fromkeys(CLASSIFICATION.metrics, math.nan)
    expected = nan | {"accuracy": metrics.accuracy_score(labels, decisions)}
    if set(counted) <= set(labels):
        expected["f1"] = metrics.f1_score(labels, decisions, labels=counted, average="macro", zero_division=0)
    if set(range(classes)) <= set(labels):
        pairs = [(labels == c, probabilities[:, c]) for c in counted]
        expected["balanced_accuracy"] = metrics.balanced_accuracy_score(labels, decisions)
        expected["auroc"] = np.mean([metrics.roc_auc_score(*pair) for pair in pairs])
        expected["average_precision"] = np.mean([metrics.average_precision_score(*pair) for pair in pairs])
    assert CLASSIFICATION.compute_metrics(labels, probabilities) == pytest.approx(expected, nan_ok=True)
