from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from roformermil.evaluation.intervals import leave_patients_out
from roformermil.evaluation.pooled import pooled_auroc
from roformermil.tasks.class_metrics import weighted_metrics


def by_scikit_learn(predictions) -> float:
    areas = []
    for seed in np.unique(predictions.seeds):
        one = predictions.select(predictions.seeds == seed)
        counted = [1] if len(one.classes) == 2 else range(len(one.classes))
        areas.append(np.mean([roc_auc_score(one.targets == c, one.predictions[:, c]) for c in counted]))
    return float(np.mean(areas))


@pytest.mark.parametrize("classes", [2, 3])
def test_it_is_scikit_learns_of_all_folds_together_with_and_without_each_patient(simulate, classes):
    """Also of patients with slides of several classes; scores have ties."""
    predictions = simulate(4, patients=25, classes=classes, seeds=2)
    labels = np.tile(np.random.default_rng(0).integers(0, classes, len(predictions.targets) // 2), 2)
    for one in (predictions, replace(predictions, targets=labels)):
        values = pooled_auroc(one)
        patients = np.unique(one.patients)
        assert len(values) == 1 + len(patients) and values[0] == pytest.approx(by_scikit_learn(one))
        expected = [by_scikit_learn(one.select(one.patients != patient)) for patient in patients]
        assert values[1:] == pytest.approx(expected)


def test_it_is_that_of_one_fold_in_the_order_of_the_other_intervals(simulate):
    predictions = simulate(1, folds=1)
    assert pooled_auroc(predictions) == pytest.approx(leave_patients_out(predictions, weighted_metrics)["auroc"])


def test_it_exists_where_no_fold_has_one_of_its_own_but_not_without_a_class(simulate):
    predictions = simulate(1)
    each = replace(predictions, folds=np.arange(len(predictions.targets)))
    assert np.isnan(leave_patients_out(each, weighted_metrics)["auroc"][0])
    assert pooled_auroc(each)[0] == pooled_auroc(predictions)[0]
    assert np.isnan(pooled_auroc(replace(predictions, targets=np.zeros_like(predictions.targets)))).all()


def test_models_of_folds_that_differ_in_level_are_ranked_together(simulate):
    """The mean over folds does not see it."""
    predictions = simulate(2)
    shift = np.where(predictions.folds == 0, 0.5, 1.0)[:, None]
    shifted = replace(predictions, predictions=predictions.predictions * shift)
    means = [leave_patients_out(one, weighted_metrics)["auroc"][0] for one in (predictions, shifted)]
    assert means[0] == means[1] and pooled_auroc(shifted)[0] < pooled_auroc(predictions)[0]
