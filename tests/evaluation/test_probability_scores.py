"""Log loss and Brier score against scikit-learn's, and their difference by temperature scaling."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from roformermil.evaluation.intervals import leave_patients_out
from roformermil.evaluation.probability_scores import score_table, weighted_scores
from roformermil.evaluation.temperature import fit_temperatures, scaled


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_scikit_learns_means_over_folds(simulate, classes):
    model, trained = simulate(0, classes=classes), simulate(7, classes=classes)
    after = scaled(model, fold_temperatures := fit_temperatures(model))
    table = score_table([model], [after], [trained], [fold_temperatures]).set_index("metric")
    names = list(range(classes))
    for column, one in (("mean", model), ("scaled", after)):
        folds = [(one.targets[own], one.predictions[own]) for own in one.tests]
        losses = [log_loss(labels, p, labels=names) for labels, p in folds]
        briers = [brier_score_loss(y, p if classes > 2 else p[:, 1], labels=names) for y, p in folds]
        assert table[column].tolist() == pytest.approx([np.mean(losses), np.mean(briers)])
    frequencies = [np.bincount(trained.targets[own], minlength=classes) / own.sum() for own in trained.tests]
    baseline = [-np.log(f[model.targets[own]]).mean() for f, own in zip(frequencies, model.tests, strict=True)]
    assert table.baseline.log_loss == pytest.approx(np.mean(baseline))
    assert table.temperature.log_loss == pytest.approx(np.mean(list(fold_temperatures.values())))
    assert table.difference.tolist() == pytest.approx((table["mean"] - table.scaled).tolist())


def test_intervals_are_by_patient_and_the_difference_is_paired(simulate):
    model = simulate(1)
    table = score_table([model], [model], [model], [{(0, 1): 1.0}]).set_index("metric")
    assert (table.difference == 0).all() and table.difference_low.isna().all(), "equal for each patient"
    left_out = leave_patients_out(model, weighted_scores)["log_loss"]
    without = model.select(model.patients != np.unique(model.patients)[0])
    folds = [log_loss(without.targets[own], without.predictions[own], labels=[0, 1]) for own in without.tests]
    assert left_out[1] == pytest.approx(np.mean(folds))
    assert table.ci_low.log_loss < table["mean"].log_loss < table.ci_high.log_loss
