import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from benchmarks.coverage import Design, coverage, external_coverage, simulate_external
from roformermil.evaluation.intervals import (
    corrected_interval,
    degrees_of_freedom,
    jackknife_error,
    leave_patients_out,
    mean_over_folds,
    patient_intervals,
)
from roformermil.tasks import CLASSIFICATION
from roformermil.tasks.class_metrics import class_metrics, weighted_metrics


def test_the_jackknife_error_follows_its_definition(simulate):
    """The mean over folds without each patient in turn, whose slides are in several folds; a fold without a class has no value."""
    predictions = simulate(6, patients=20)
    number = np.arange(len(predictions.targets))
    predictions = replace(predictions, folds=number % 5, targets=(number % 7 == 0).astype(int))
    left_out = [predictions.select(predictions.patients != patient) for patient in np.unique(predictions.patients)]
    folds = [[one.select(one.folds == k) for k in range(5)] for one in left_out]
    metrics = [[CLASSIFICATION.compute_metrics(fold.targets, fold.predictions) for fold in row] for row in folds]
    values = np.array([[metric["average_precision"] for metric in row] for row in metrics])
    assert np.isnan(values).any()
    means = np.nanmean(values, axis=1)
    error = math.sqrt((len(means) - 1) / len(means) * ((means - means.mean()) ** 2).sum())
    left_out = leave_patients_out(predictions, weighted_metrics)["average_precision"]
    assert left_out[1:] == pytest.approx(means) and jackknife_error(left_out) == pytest.approx(error)


def test_an_interval_is_the_mean_and_students_t_errors_cut_to_0_to_1(simulate):
    predictions = simulate(7, patients=30, folds=4)
    means, left_out = (f(predictions, class_metrics) for f in (mean_over_folds, leave_patients_out))
    for name, interval in patient_intervals(predictions, class_metrics).items():
        half = t.ppf(0.975, 30 - 4) * jackknife_error(left_out[name])
        assert interval == pytest.approx(np.clip([means[name][0] - half, means[name][0] + half], 0, 1)), name
    assert patient_intervals(simulate(3, patients=20), class_metrics)["recall"].max() == 1, "cut"


def test_the_interval_of_a_fraction_is_that_of_textbooks(simulate):
    """Accuracy in one fold with one slide per patient: p +- 1.96 sqrt(p (1 - p) / n)."""
    predictions = simulate(5, patients=400, folds=1)
    predictions = predictions.select(np.unique(predictions.patients, return_index=True)[1])
    correct = predictions.decisions == predictions.targets
    half = 1.96 * correct.std() / math.sqrt(len(correct))
    interval = patient_intervals(predictions, weighted_metrics)["accuracy"]
    assert interval == pytest.approx([correct.mean() - half, correct.mean() + half], abs=0.001)


def test_more_slides_of_the_same_patients_are_no_new_information(simulate):
    """With each slide twice the interval remains. One over slides would shrink by the square root of 2."""
    predictions = simulate(2, patients=80)
    twice = predictions.select(np.tile(np.arange(len(predictions.targets)), 2))
    intervals = [patient_intervals(one, weighted_metrics)["auroc"] for one in (predictions, twice)]
    assert intervals[0] == pytest.approx(intervals[1])


def test_seeds_are_averaged_within_folds_and_are_no_further_patients(simulate):
    """The mean and jackknife over seeds and then folds by hand, with a fold that has fewer seeds than the others; with the same
    predictions from both seeds the interval is that of one."""
    predictions = simulate(4, patients=30, folds=3, seeds=2)
    predictions = predictions.select((predictions.folds > 0) | (predictions.seeds == 1))

    def mean(one) -> float:
        folds = [
            [one.select((one.folds == k) & (one.seeds == seed)) for seed in (1, 2)[: 1 + (k > 0)]] for k in range(3)
        ]
        values = [
            [CLASSIFICATION.compute_metrics(run.targets, run.predictions)["auroc"] for run in fold] for fold in folds
        ]
        return float(np.mean([np.mean(fold) for fold in values]))

    left_out = leave_patients_out(predictions, weighted_metrics)["auroc"]
    assert left_out[0] == pytest.approx(mean(predictions))
    patients = np.unique(predictions.patients)
    expected = [mean(predictions.select(predictions.patients != patient)) for patient in patients]
    assert left_out[1:] == pytest.approx(expected)
    assert degrees_of_freedom(predictions) == 30 - 3
    one = simulate(2)
    same = one.select(np.tile(np.arange(len(one.targets)), 2))
    same.seeds[len(one.targets) :] = 2
    for statistics in (weighted_metrics, class_metrics):
        intervals = [patient_intervals(predictions, statistics) for predictions in (one, same)]
        assert all(intervals[0][name] == pytest.approx(intervals[1][name], nan_ok=True) for name in intervals[0])


def test_a_perfect_score_and_what_changes_only_by_round_off_have_no_interval(simulate):
    """The score is 1.00 without any of the patients: that is no proof that it would be with others."""
    predictions = simulate(3)
    perfect = replace(predictions, predictions=np.eye(2)[predictions.targets])
    intervals = patient_intervals(perfect, weighted_metrics)
    assert all(np.isnan(intervals[name]).all() for name in ("auroc", "average_precision", "accuracy"))
    intervals = patient_intervals(simulate(8), lambda labels, _, weights: {"x": 0.5 + weights[:, 0] * 1e-15})
    assert np.isnan(intervals["x"]).all()


def test_a_lower_level_makes_a_narrower_interval(simulate):
    wide, narrow = (patient_intervals(simulate(9), weighted_metrics, level)["auroc"] for level in (0.95, 0.8))
    assert np.diff(narrow) / np.diff(wide) == pytest.approx(1.28 / 1.96, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", [Design(200, 10, 0.5, 1.2), Design(200, 10, 0.2, 1.2), Design(200, 10, 1 / 3, 1.2, classes=3)]
)
def test_intervals_contain_the_truth_in_93_to_97_percent(design):
    results = coverage(design, runs=1000)
    assert all(0.93 <= share <= 0.97 for (share,), _ in results.values()), results


@pytest.mark.slow
def test_average_precision_over_few_positives_is_biased_as_the_cautions_state():
    results = coverage(Design(200, 10, 0.2, 1.2), runs=300)
    assert results["average_precision"][1] > 0.03 > abs(results["auroc"][1])


@pytest.mark.slow
def test_the_simulation_reveals_intervals_that_are_too_narrow():
    assert all(share < 0.9 for (share,), _ in coverage(Design(200, 10, 0.5, 1.2), 300, level=0.8).values())


def test_an_interval_over_folds_is_students_widened_by_the_correction_and_cut_and_needs_two_different_values():
    values = np.array([0.7, 0.72, 0.68, 0.75, 0.71])
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert corrected_interval(values, 0) == pytest.approx((expected.low, expected.high))
    widths = [np.diff(corrected_interval(values, ratio)) for ratio in (0, 1 / 9)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt((1 / 5 + 1 / 9) / (1 / 5)))
    assert corrected_interval(np.array([1.0, 0.9, 1.0]), 0.1)[1] == 1.0
    for values in ([0.5, np.nan], [1.0, 1.0, 1.0]):
        assert all(map(math.isnan, corrected_interval(np.array(values), 0.1)))


@pytest.mark.parametrize(("positives", "least"), [(1, 1.0), (3, 0.87)])
def test_intervals_of_patients_who_are_tested_together_tell_that_few_are_positive(positives, least):
    """50 negative patients and few positive ones, as in an external data set. With the degrees of freedom of all patients, intervals
    contain the truth in 80% of cases with three positive patients; one positive patient says nothing about others."""
    assert external_coverage(positives, 300)[0] >= least
    model = simulate_external(np.random.default_rng(0), positives)
    assert degrees_of_freedom(model) == max(1, positives - 1)
    assert degrees_of_freedom(model, "accuracy") == 50 + positives - 1, "each patient contributes alike"
    negative = model.select(model.targets == 0)
    assert degrees_of_freedom(negative) == 50 - 1, "a class without patients does not count"
    assert positives > 1 or patient_intervals(model, weighted_metrics)["auroc"].tolist() == [0, 1]
