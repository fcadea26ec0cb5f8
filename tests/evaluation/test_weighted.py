"""Every weighted figure against scikit-learn's, replicate by replicate."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from roformermil.evaluation.metrics import METRICS, compute_metrics
from roformermil.evaluation.weighted import class_scores, weighted_scores


@pytest.fixture(params=[2, 3])
def drawn(request, simulated):
    found = simulated(np.random.default_rng(request.param), classes=request.param)
    weights = np.random.default_rng(1).integers(0, 4, (20, len(found.labels))).astype(float)
    return found.labels, found.probabilities, weights


def test_class_by_class(drawn):
    labels, probabilities, weights = drawn
    found, decided = class_scores(*drawn), probabilities.argmax(axis=1)
    for r, w in enumerate(weights):
        for c in range(probabilities.shape[1]):
            truth, said = labels == c, decided == c
            expected = {
                "auroc": roc_auc_score(truth, probabilities[:, c], sample_weight=w),
                "average_precision": average_precision_score(truth, probabilities[:, c], sample_weight=w),
                "recall": recall_score(truth, said, sample_weight=w),
                "precision": precision_score(truth, said, sample_weight=w),
                "f1": f1_score(truth, said, sample_weight=w),
            }
            assert {name: values[r, c] for name, values in found.items()} == pytest.approx(expected)


def test_over_classes(drawn):
    labels, probabilities, weights = drawn
    found, decided = weighted_scores(*drawn), probabilities.argmax(axis=1)
    for r, w in enumerate(weights):
        assert found["accuracy"][r] == pytest.approx(accuracy_score(labels, decided, sample_weight=w))
        recall = recall_score(labels, decided, sample_weight=w, average="macro")
        assert found["balanced_accuracy"][r] == pytest.approx(recall)


def test_without_weights_they_are_the_published_figures(drawn):
    labels, probabilities, _ = drawn
    found = weighted_scores(labels, probabilities, np.ones((1, len(labels))))
    assert {name: found[name][0] for name in METRICS} == pytest.approx(compute_metrics(labels, probabilities))


def test_a_replicate_without_a_class_has_no_figure_that_needs_it():
    labels, probabilities = np.array([0, 1, 1]), np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    found = weighted_scores(labels, probabilities, np.array([[0, 1, 1], [2, 0, 0]]).astype(float))
    assert np.isnan(found["auroc"]).all()
    assert found["accuracy"].tolist() == [0.5, 1.0]
    assert found["f1"][0] == pytest.approx(2 / 3) and np.isnan(found["f1"][1])


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 2, 2], [1, 2, 2]])
@pytest.mark.parametrize("classes", [2, 3])
def test_folds_that_lack_a_class_have_the_same_figures_in_both_tables(labels, classes):
    """metrics.csv's and those that intervals are made of."""
    labels = np.minimum(labels, classes - 1)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(classes), 3)
    found = weighted_scores(labels, probabilities, np.ones((1, 3)))
    assert {name: found[name][0] for name in METRICS} == pytest.approx(
        compute_metrics(labels, probabilities), nan_ok=True
    )


def test_average_precision_without_negatives_says_nothing():
    found = class_scores(np.array([1, 1]), np.array([[0.2, 0.8], [0.6, 0.4]]), np.ones((1, 2)))
    assert np.isnan(found["average_precision"]).all()
