"""Accuracy of what is decided when slides are left to a person, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import accuracy_score, recall_score

from roformermil.config.decisions import Decisions
from roformermil.evaluation.abstention import SHARES, abstention_table, decide
from roformermil.evaluation.decisions import decision_tables
from roformermil.evaluation.operating_points import operating_points


def rows_of(table, share, metric):
    return table[np.isclose(table.share, share) & (table.metric == metric)]


@pytest.fixture
def example(simulate):
    """A model, the predictions of its validation slides, and their operating points."""
    model, validation = simulate(0, patients=200), simulate(1, patients=200)
    return model, validation, operating_points(validation, {}, Decisions())


def test_nothing_is_left_at_0_and_accuracy_is_that_of_the_operating_point(example):
    model, validation, points = example
    table = abstention_table([model], [validation], points)
    decisions = decide(model, points)[0].astype(int)
    assert rows_of(table, 0, "left").value.tolist() == [0]
    assert rows_of(table, 0, "accuracy").value.item() == pytest.approx(accuracy_score(model.targets, decisions))
    recalls = recall_score(model.targets, decisions, average=None)
    assert rows_of(table, 0, "recall").value.tolist() == pytest.approx(recalls.tolist())


def test_the_limit_of_certainty_is_chosen_on_validation_slides(example):
    """Per fold: the share's quantile of the distances from the threshold, in log-odds."""
    model, validation, points = example
    kept, right = [], []
    for row in points.itertuples():
        own, limit_slides = (one.predictions[one.folds == row.fold, 1] for one in (model, validation))
        threshold = np.log(row.threshold / (1 - row.threshold))
        distance, of_validation = (np.abs(np.log(p / (1 - p)) - threshold) for p in (own, limit_slides))
        decided = distance >= np.quantile(of_validation, 0.3)
        kept += decided.tolist()
        right += (decided & ((own >= row.threshold) == (model.targets[model.folds == row.fold] == 1))).tolist()
    table = abstention_table([model], [validation], points)
    assert rows_of(table, 0.3, "left").value.item() == pytest.approx(1 - np.mean(kept))
    accuracy = rows_of(table, 0.3, "accuracy").iloc[0]
    assert (
        accuracy.value == pytest.approx(sum(right) / sum(kept)) and accuracy.ci_low < accuracy.value < accuracy.ci_high
    )
    assert accuracy.value > rows_of(table, 0, "accuracy").value.item() + 0.05, "the least certain slides are the worst"


def test_more_classes_are_decided_by_the_most_probable(simulate):
    model, validation = simulate(2, classes=3), simulate(3, classes=3)
    decisions, confidences = decide(model, operating_points(validation, {}, Decisions()))
    assert (decisions == model.decisions).all() and (confidences == model.predictions.max(axis=1)).all()
    table = abstention_table([model], [validation], operating_points(validation, {}, Decisions()))
    assert len(table) == len(SHARES) * 5
    assert rows_of(table, 0, "accuracy").value.item() == pytest.approx((model.decisions == model.targets).mean())


def test_a_fold_without_an_operating_point_decides_nothing_and_does_not_count(example):
    model, validation, points = example
    table = abstention_table([model], [validation], points.assign(threshold=points.threshold.where(points.fold > 0)))
    rest = model.select(model.folds > 0)
    expected = abstention_table([rest], [validation], points)
    assert rows_of(table, 0.2, "accuracy").value.item() == rows_of(expected, 0.2, "accuracy").value.item()


def test_of_external_slides_the_ensemble_leaves_those_of_which_it_is_less_sure_than_its_members(simulate):
    """The threshold is the median of the members', the limit the quantile of the distances of all validation slides from it."""
    external = {"dataset": "theirs", "trained_on": "set"}
    seen = simulate(5, patients=200, seeds=5)  # by five members
    members = replace(seen, folds=seen.seeds - 1, seeds=np.ones_like(seen.seeds), **external)
    validation = replace(simulate(1, patients=200), **external)
    slides = len(members.slides) // 5
    truth, ensemble = members.targets[:slides], members.predictions[:, 1].reshape(5, slides).mean(axis=0)
    threshold = operating_points(validation, {}, Decisions()).threshold.median()
    distance, of_validation = (np.abs(logit(p) - logit(threshold)) for p in (ensemble, validation.predictions[:, 1]))
    decided = distance >= np.quantile(of_validation, 0.3)
    table = decision_tables([members], [validation], [validation], Decisions())["abstention"]
    assert set(table.dataset) == {"theirs"} and 0.02 < 1 - decided.mean() < 0.98
    assert rows_of(table, 0.3, "left").value.item() == pytest.approx(1 - decided.mean())
    right = ((ensemble >= threshold) == (truth == 1))[decided].mean()
    assert rows_of(table, 0.3, "accuracy").value.item() == pytest.approx(right)
