import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import Design, coverage
from roformermil.evaluation.bootstrap import (
    expanded_tails,
    intervals,
    jackknife_errors,
    mean_over_folds,
    percentile_band,
    resampling_weights,
)
from roformermil.evaluation.metrics import METRICS, compute_metrics
from roformermil.evaluation.weighted import class_scores, weighted_scores


def test_the_middle_is_the_mean_over_folds(simulated):
    found = simulated(np.random.default_rng(0))
    middle = mean_over_folds(found, np.ones((1, len(found.labels))), weighted_scores)
    folds = [
        compute_metrics(found.labels[here], found.probabilities[here])
        for k in range(5)
        if (here := found.folds == k).any()
    ]
    assert middle["auroc"][0] == pytest.approx(np.mean([fold["auroc"] for fold in folds]))


def test_patients_are_drawn_with_all_their_slides(simulated):
    found = simulated(np.random.default_rng(1))
    weights = resampling_weights(found, 100)
    for patient in np.unique(found.patients):
        of = weights[:, found.patients == patient]
        assert (of == of[:, :1]).all()
    patients = np.array([weights[:, found.patients == p][:, 0] for p in np.unique(found.patients)])
    assert (patients.sum(axis=0) == len(patients)).all(), "as many patients as there are"
    assert (resampling_weights(found, 100) == weights).all(), "from a seed"


def test_slides_of_one_patient_are_no_new_information(simulated):
    """Every slide twice: the interval stays. A bootstrap of slides would shrink it by the square root of 2."""
    found = simulated(np.random.default_rng(2), patients=80)
    twice = type(found)(
        *found.key, found.classes, *(np.concatenate([getattr(found, name)] * 2) for name in
        ("slides", "patients", "folds", "labels", "probabilities")),
    )  # fmt: skip
    widths = []
    for one in (found, twice):
        low, high = intervals(one, weighted_scores)["auroc"]
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1], rel=0.02)


def test_a_perfect_figure_has_no_interval(simulated):
    """Every drawing of patients gives 1.00 again: that is no proof that another test set would."""
    found = simulated(np.random.default_rng(3))
    found = replace(found, probabilities=np.eye(2)[found.labels])
    bounds = intervals(found, weighted_scores, 200)
    for name in ("auroc", "average_precision", "accuracy"):
        assert np.isnan(bounds[name]).all(), name


def single(found):
    """The first slide of each patient."""
    first = np.unique(found.patients, return_index=True)[1]
    arrays = ("slides", "patients", "folds", "labels", "probabilities")
    return replace(found, **{name: getattr(found, name)[first] for name in arrays})


def test_the_interval_of_a_share_is_the_textbooks(simulated):
    """Accuracy in one fold, a slide a patient: p +- 1.96 sqrt(p (1 - p) / n)."""
    found = single(simulated(np.random.default_rng(5), patients=400, folds=1))
    right = found.probabilities.argmax(axis=1) == found.labels
    half = 1.96 * right.std() / math.sqrt(len(right))
    bounds = intervals(found, weighted_scores, 20_000)["accuracy"]
    assert bounds == pytest.approx([right.mean() - half, right.mean() + half], abs=0.003)


def test_the_jackknife_is_its_definition(simulated):
    """The mean over folds without each patient in turn, whose slides are in several folds; a fold without a class has no figure."""
    found = simulated(np.random.default_rng(6), patients=20, folds=5)
    found = replace(
        found, folds=np.arange(len(found.labels)) % 5, labels=(np.arange(len(found.labels)) % 7 == 0).astype(int)
    )
    without, emptied = [], 0
    for patient in np.unique(found.patients):
        folds = [(found.folds == k) & (found.patients != patient) for k in range(5)]
        figures = [compute_metrics(found.labels[f], found.probabilities[f])["average_precision"] for f in folds]
        without.append(np.nanmean(figures))
        emptied += np.isnan(figures).any()
    assert emptied > 0
    error = math.sqrt((len(without) - 1) / len(without) * ((without - np.mean(without)) ** 2).sum())
    assert jackknife_errors(found, weighted_scores)["average_precision"] == pytest.approx(error)


def test_an_interval_holds_its_own_figure(simulated):
    """Also of F1, which a bootstrap pulls down, and average precision, which it flatters: quantiles alone miss it on some."""
    for seed in range(5):
        found = simulated(np.random.default_rng(seed), patients=30)
        middle = mean_over_folds(found, np.ones((1, len(found.labels))), class_scores)
        for name, (low, high) in intervals(found, class_scores, 300).items():
            known = np.isfinite(low)
            assert ((low <= middle[name][0]) & (middle[name][0] <= high))[known].all() and known.any(), name
            assert (low[known] >= 0).all() and (high[known] <= 1).all()


def test_intervals_are_moved_to_the_figure_and_spread_to_its_error(simulated):
    """What the replicates themselves get wrong, here: F1 is pulled down, average precision varies too little."""
    found = simulated(np.random.default_rng(7), patients=120, folds=12)
    middle = mean_over_folds(found, np.ones((1, len(found.labels))), weighted_scores)
    drawn, bounds = (
        mean_over_folds(found, resampling_weights(found), weighted_scores),
        intervals(found, weighted_scores),
    )
    bias = drawn["f1"].mean() - middle["f1"][0]
    quantiles = percentile_band(drawn["f1"], (0.025, 0.975))
    assert bias < -0.01 and bounds["f1"].mean() - quantiles.mean() == pytest.approx(-bias, rel=0.1)
    error = jackknife_errors(found, weighted_scores)["average_precision"]
    assert drawn["average_precision"].std() < 0.93 * error
    assert np.diff(bounds["average_precision"]) / (2 * 1.96) == pytest.approx(error, rel=0.05)


def test_what_only_round_off_moves_has_no_interval(simulated):
    """Replicates that differ in their last digit, or whose figure no left-out patient changes."""
    found = simulated(np.random.default_rng(8))

    def figures(labels, probabilities, weights):
        first, drawn = weights[:, 0], weights.max(axis=1) > 1  # by a bootstrap, not by leaving one out
        return {"round_off": 0.5 + first * 1e-15, "drawn": 0.5 + drawn * first / 10, "both": 0.5 + first / 10}

    bounds = intervals(found, figures, 200)
    assert np.isnan([*bounds["round_off"], *bounds["drawn"]]).all() and np.isfinite(bounds["both"]).all()


def test_a_lower_level_is_a_narrower_interval(simulated):
    found = simulated(np.random.default_rng(9))
    wide, narrow = (intervals(found, weighted_scores, 500, level)["auroc"] for level in (0.95, 0.8))
    assert np.diff(narrow) / np.diff(wide) == pytest.approx(1.28 / 1.96, rel=0.1)


def test_a_band_is_the_quantiles_of_what_has_values():
    values = np.stack([np.arange(101.0), np.where(np.arange(101) < 60, np.nan, 1.0)], axis=1)
    low, high = percentile_band(values, (0.1, 0.9))
    assert (low[0], high[0]) == (10, 90) and np.isnan([low[1], high[1]]).all()


def test_tails_are_expanded_as_for_so_many_patients(simulated):
    """One fold, one slide each: Hesterberg's quantile for n = 20, with t(0.975, 19) = 2.093 from a table."""
    found = single(simulated(np.random.default_rng(0), patients=20, folds=1))
    tail = 0.5 * math.erfc(2.093 * math.sqrt(20 / 19) / math.sqrt(2))
    assert expanded_tails(found) == pytest.approx((tail, 1 - tail), rel=1e-3)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    found = coverage(Design(200, 10, 0.5, 1.2), runs=1000, replicates=500)
    assert all(0.93 <= share <= 0.97 for share, _ in found.values()), found


@pytest.mark.slow
def test_intervals_hold_with_three_classes_too():
    """Quantiles of the replicates as they are hold average precision in 92% and F1 in 90%."""
    found = coverage(Design(200, 10, 1 / 3, 1.2, classes=3), runs=1000, replicates=500)
    assert all(0.93 <= share <= 0.97 for share, _ in found.values()), found


@pytest.mark.slow
def test_intervals_hold_with_few_positives_too():
    found = coverage(Design(200, 10, 0.2, 1.2), runs=1000, replicates=500)
    assert all(0.93 <= found[name][0] <= 0.97 for name in METRICS if name != "f1"), found  # F1: 97.1%
    assert found["average_precision"][1] > 0.03 > abs(found["auroc"][1]), "what the cautions say of few positives"


@pytest.mark.slow
def test_the_simulation_would_show_intervals_that_are_too_narrow():
    found = coverage(Design(200, 10, 0.5, 1.2), 300, 300, level=0.8)
    assert all(share < 0.9 for share, _ in found.values())
