"""Intervals of proportions and predictive values, against scipy, statsmodels and their definitions."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, ttest_1samp

from roformermil.evaluation.proportions import Proportion, mean_interval, predictive_value, proportion

SENSITIVITY = (
    0.6923076923,
    6.0237623762,
)  # of the fixture `clustered` at 0.5, and its size: p (1 - p) over the variance
MEAN = [0.43775, 0.314118838784, 0.561381161216]  # of its scores, with the interval


def of_independent(hits: int, slides: int) -> Proportion:
    """Each slide is another patient's."""
    return proportion(np.arange(slides) < hits, np.ones(slides), np.arange(slides))


@pytest.mark.parametrize(("hits", "slides"), [(0, 7), (7, 7), (3, 11), (45, 60)])
def test_the_interval_of_independent_slides_is_wilsons(hits, slides):
    value, expected = of_independent(hits, slides), binomtest(hits, slides).proportion_ci(method="wilson")
    assert (value.value, value.size) == pytest.approx((hits / slides, slides))
    assert value.interval == pytest.approx((expected.low, expected.high))


def test_the_size_of_clustered_slides_is_that_of_their_robust_variance(clustered):
    """statsmodels 0.15: OLS of the calls of positive slides on a constant, with standard errors that are robust to clusters."""
    truth, scores, patients = clustered
    called = scores[truth] >= 0.5
    value = proportion(called, np.ones_like(called), patients[truth])
    assert (value.value, value.size) == pytest.approx(SENSITIVITY, rel=1e-6)


def test_more_slides_of_the_same_patients_are_no_new_information():
    called, patients = np.random.default_rng(0).random(50) < 0.7, np.arange(50)
    once, twice = (proportion(np.tile(called, k), np.ones(50 * k), np.tile(patients, k)) for k in (1, 2))
    assert twice == pytest.approx(once)
    perfect = proportion(np.ones(100), np.ones(100), np.tile(patients, 2))
    assert perfect == (1, 50) and perfect.interval[0] == pytest.approx(
        binomtest(50, 50).proportion_ci(method="wilson").low
    )


def test_trainings_that_differ_count_in_part():
    """Two of four trainings call the first slide; slides that no training decides count nothing."""
    value = proportion(np.array([0.5, 1, 0, 0]), np.array([1, 1, 1, 0]), np.arange(4))
    assert value == pytest.approx((0.5, 3))
    nothing = proportion(np.zeros(2), np.zeros(2), np.arange(2))
    assert np.isnan(nothing.value) and np.isnan(nothing.interval).all()


def test_predictive_values_follow_bayes_and_the_interval_its_definition():
    """Mercaldo et al. 2007, equations 8 to 11, for 240 of 418 patients and 87 of 375 controls with a positive test."""
    sensitivity, false_alarms = of_independent(240, 418), of_independent(87, 375)
    value, interval = predictive_value(sensitivity, false_alarms, 0.03)
    se, sp = 240 / 418, 288 / 375
    assert value == pytest.approx(se * 0.03 / (se * 0.03 + (1 - sp) * 0.97))
    error = np.sqrt((1 - se) / se / 418 + sp / (1 - sp) / 375)
    logits = np.log(se * 0.03 / ((1 - sp) * 0.97)) + norm.ppf(0.975) * error * np.array([-1, 1])
    assert interval == pytest.approx(1 / (1 + np.exp(-logits)))
    assert predictive_value(sensitivity, false_alarms, 418 / 793)[0] == pytest.approx(240 / 327), (
        "as in the study itself"
    )


def test_a_perfect_predictive_value_has_an_interval():
    value, (low, high) = predictive_value(of_independent(8, 10), of_independent(0, 20), 0.1)
    assert value == high == 1 and 0.1 < low < 0.9
    assert np.isnan(predictive_value(of_independent(8, 10), Proportion(np.nan, 0), 0.1)[1]).all()


def test_intervals_at_a_prevalence_contain_the_truth_in_95_percent():
    rng, se, sp, prevalence = np.random.default_rng(1), 0.85, 0.9, 0.1
    truth, inside = se * prevalence / (se * prevalence + (1 - sp) * (1 - prevalence)), []
    for hits, alarms in zip(rng.binomial(60, se, 2000), rng.binomial(80, 1 - sp, 2000), strict=True):
        low, high = predictive_value(Proportion(hits / 60, 60), Proportion(alarms / 80, 80), prevalence)[1]
        inside.append(low <= truth <= high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)


def test_the_interval_of_a_mean_is_students_and_robust_to_clusters(clustered):
    """Of independent slides scipy's; of clustered ones that of statsmodels' OLS, Student's t with the clusters less 1."""
    _, scores, patients = clustered
    expected = ttest_1samp(scores, 0).confidence_interval()
    alone = mean_interval(scores, np.arange(len(scores)))
    assert alone == pytest.approx([scores.mean(), expected.low, expected.high])
    assert mean_interval(scores[:, None], patients)[:, 0] == pytest.approx(MEAN, rel=1e-6)
    assert np.isnan(mean_interval(scores, np.zeros(len(scores)))[1:]).all()
