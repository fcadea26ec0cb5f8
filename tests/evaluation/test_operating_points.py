"""Operating points, against scikit-learn's metrics at every threshold."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import recall_score

from roformermil.config.decisions import Decisions
from roformermil.evaluation.operating_points import NONE_POSITIVE, calls, choose_operating_point, operating_points


def every_threshold(truth, scores):
    """Sensitivity and specificity at each score and above all."""
    decisions = [scores >= threshold for threshold in [*np.unique(scores), 2]]
    return np.array([[recall_score(truth, d, pos_label=label) for label in (True, False)] for d in decisions])


@pytest.fixture
def slides():
    rng = np.random.default_rng(3)
    truth = rng.random(80) < 0.4
    return truth, np.clip(rng.normal(0.4 + 0.2 * truth, 0.2), 0, 1).round(2)  # ties


def test_youdens_index_is_the_highest_of_all_thresholds(slides):
    point = choose_operating_point(*slides, Decisions())
    assert point.sensitivity + point.specificity == pytest.approx(every_threshold(*slides).sum(axis=1).max())
    check(point, *slides)


@pytest.mark.parametrize("target", [0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["sensitivity", "specificity"])
def test_a_target_is_reached_with_as_much_of_the_other_as_possible(slides, name, target):
    point = choose_operating_point(*slides, Decisions(**{name: target}))
    column = ("sensitivity", "specificity").index(name)
    possible = every_threshold(*slides)
    good = possible[possible[:, column] >= target]
    assert point[1 + column] >= target and point[2 - column] == pytest.approx(good[:, 1 - column].max())
    check(point, *slides)


def check(point, truth, scores):
    """That the threshold gives what it states on the slides that it was chosen on."""
    reached = [recall_score(truth, scores >= point.threshold, pos_label=label) for label in (True, False)]
    assert reached == pytest.approx(point[1:])


def test_a_threshold_lies_midway_between_classes_that_it_separates():
    truth, scores = np.array([False, False, True, True]), np.array([0.1, 0.2, 0.6, 0.7])
    assert choose_operating_point(truth, scores, Decisions()) == pytest.approx((0.4, 1, 1))


def test_certain_probabilities_and_a_single_class():
    truth = np.array([False, True])
    assert choose_operating_point(truth, np.array([0.0, 1.0]), Decisions()) == (0.5, 1, 1)
    reversed_scores = np.array([1.0, 0.0])
    assert choose_operating_point(truth, reversed_scores, Decisions(specificity=0.9)) == (NONE_POSITIVE, 0, 1)
    assert choose_operating_point(truth, reversed_scores, Decisions(sensitivity=0.9)) == (0, 1, 0)
    assert np.isnan(choose_operating_point(np.array([True, True]), np.array([0.1, 0.2]), Decisions())).all()


def test_each_training_decides_with_its_own_threshold(simulate):
    """Predictions are called by the operating point of their own fold and seed; one without any calls nothing."""
    validation, test = simulate(0, seeds=2), simulate(5, seeds=2)
    points = operating_points(validation, {}, Decisions())
    assert len(points) == len(validation.runs) == 10
    called = calls(test, points, 1)
    for row in points.itertuples():
        own = (test.folds == row.fold) & (test.seeds == row.seed)
        assert (called[own] == (test.predictions[own, 1] >= row.threshold)).all()
        chosen = validation.select((validation.folds == row.fold) & (validation.seeds == row.seed))
        assert (row.positives, row.negatives) == ((chosen.targets == 1).sum(), (chosen.targets == 0).sum())
    assert points.threshold.nunique() > 5
    without = replace(validation, targets=np.where(validation.folds == 2, 0, validation.targets))
    assert np.isnan(calls(test, operating_points(without, {}, Decisions()), 1)).tolist() == (test.folds == 2).tolist()


def test_more_classes_have_a_point_each_against_the_rest(simulate):
    validation = simulate(1, classes=3)
    points = operating_points(validation, {}, Decisions())
    assert points["class"].unique().tolist() == validation.classes
    row = points[points["class"] == "class_2"].iloc[0]
    own = validation.select(validation.folds == row.fold)
    assert row.threshold == choose_operating_point(own.targets == 2, own.predictions[:, 2], Decisions()).threshold
