import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from roformermil.evaluation.calibration import (
    calibration_caution,
    calibration_error,
    calibration_table,
    confusion,
    reliability,
)
from roformermil.evaluation.cautions import cautions


def test_the_curve_of_two_classes_is_scikit_learns(simulate):
    predictions = simulate(0, patients=300)
    curve = reliability(predictions.targets, predictions.predictions)
    observed, probability = calibration_curve(predictions.targets, predictions.predictions[:, 1], n_bins=10)
    assert curve.probability.to_numpy() == pytest.approx(probability)
    assert curve.observed.to_numpy() == pytest.approx(observed)


def test_the_error_follows_its_definition(simulate):
    predictions = simulate(1, patients=300, classes=3)
    confidence = predictions.predictions.max(axis=1)
    correct = predictions.decisions == predictions.targets
    bins = [(confidence > k / 10) & (confidence <= (k + 1) / 10) for k in range(10)]
    total = sum(abs(correct[rows].sum() - confidence[rows].sum()) for rows in bins)
    curve = reliability(predictions.targets, predictions.predictions)
    assert calibration_error(curve) == pytest.approx(total / len(confidence))


def test_certain_predictions_have_error_0_if_right_and_1_if_wrong():
    labels = np.array([0, 0, 1, 1])
    assert calibration_error(reliability(labels, np.eye(2)[labels])) == 0
    assert calibration_error(reliability(labels, np.eye(2)[1 - labels])) == 1


def test_tables_count_every_slide_by_label_and_prediction(simulate):
    models = [simulate(k, classes=3, model=f"m{k}") for k in range(2)]
    table = calibration_table(models)
    assert table.groupby("model").slides.sum().tolist() == [len(model.targets) for model in models]
    for model in models:
        ece = table[table.model == model.model].ece.unique()
        assert ece == pytest.approx([calibration_error(reliability(model.targets, model.predictions))])
        counts = confusion(models).query("model == @model.model").set_index(["label", "predicted"]).slides
        expected = confusion_matrix(model.targets, model.decisions)  # rows are labels
        assert (expected != expected.T).any()
        for (i, j), count in np.ndenumerate(expected):
            assert counts[model.classes[i], model.classes[j]] == count


def test_a_slide_that_several_folds_test_counts_once(simulate):
    """As in published folds by repeated drawing."""
    predictions = simulate(2)
    rows = np.append(np.arange(len(predictions.targets)), np.arange(20))
    repeated = predictions.select(rows)
    repeated.folds[-20:] = 9
    repeated.predictions[-20:] = np.fliplr(repeated.predictions[-20:])  # another fold's model predicts the opposite
    assert (predictions.repeated, repeated.repeated) == (0, 20)
    assert confusion([repeated]).equals(confusion([predictions]))
    assert calibration_table([repeated]).equals(calibration_table([predictions]))
    assert any("20 slides are tested by several folds" in line for line in cautions(repeated))


def test_a_slide_of_several_seeds_counts_once_as_the_first_predicted_it(simulate):
    predictions = simulate(2, seeds=3)
    first = predictions.select(predictions.seeds == 1)
    assert confusion([predictions]).equals(confusion([first]))
    assert calibration_table([predictions]).equals(calibration_table([first]))
    assert cautions(predictions) == cautions(first)


def test_calibration_takes_a_hundred_patients_of_each_class():
    assert calibration_caution({"a": 100, "b": 250}) == ""
    assert calibration_caution({"a": 250, "b": 99}).endswith("and there are 99 of class b.")
