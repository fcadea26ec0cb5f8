from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from roformermil.evaluation.calibration import calibration_error, calibration_table, confusion, reliability
from roformermil.evaluation.cautions import cautions


def test_two_classes_are_scikit_learns_curve(simulated):
    found = simulated(np.random.default_rng(0), patients=300)
    curve = reliability(found.labels, found.probabilities)
    observed, claimed = calibration_curve(found.labels, found.probabilities[:, 1], n_bins=10)
    assert curve.claimed.to_numpy() == pytest.approx(claimed)
    assert curve.observed.to_numpy() == pytest.approx(observed)


def test_the_error_by_its_definition(simulated):
    found = simulated(np.random.default_rng(1), patients=300, classes=3)
    total, sure = 0.0, found.probabilities.max(axis=1)
    right = found.probabilities.argmax(axis=1) == found.labels
    for k in range(10):
        here = (sure > k / 10) & (sure <= (k + 1) / 10)
        total += abs(right[here].sum() - sure[here].sum()) if here.any() else 0
    assert calibration_error(reliability(found.labels, found.probabilities)) == pytest.approx(total / len(sure))


def test_perfect_and_certain_nonsense():
    labels = np.array([0, 0, 1, 1])
    assert calibration_error(reliability(labels, np.eye(2)[labels])) == 0
    assert calibration_error(reliability(labels, np.eye(2)[1 - labels])) == 1


def test_tables_count_every_slide(simulated):
    found = [simulated(np.random.default_rng(k), classes=3, model=f"m{k}") for k in range(2)]
    table = calibration_table(found)
    assert table.groupby("model").slides.sum().tolist() == [len(one.labels) for one in found]
    for one in found:
        ece = table[table.model == one.model].ece.unique()
        assert ece == pytest.approx([calibration_error(reliability(one.labels, one.probabilities))])
        counts = confusion(found).query("model == @one.model").slides.to_numpy().reshape(3, 3)
        assert (counts == confusion_matrix(one.labels, one.probabilities.argmax(axis=1))).all()


def test_a_slide_that_several_folds_test_counts_once(simulated):
    """As in published folds by repeated drawing."""
    found = simulated(np.random.default_rng(2))
    arrays = {name: getattr(found, name) for name in ("slides", "patients", "labels", "probabilities")}
    again = {name: np.concatenate([array, array[:20]]) for name, array in arrays.items()}
    again["probabilities"][-20:] = again["probabilities"][
        -20:, ::-1
    ]  # by another fold's model, which says the opposite
    twice = replace(found, **again, folds=np.append(found.folds, np.full(20, 9)))
    assert (found.repeated, twice.repeated) == (0, 20)
    assert confusion([twice]).equals(confusion([found]))
    assert calibration_table([twice]).equals(calibration_table([found]))
    assert any("20 slides are tested by several folds" in line for line in cautions(twice))
