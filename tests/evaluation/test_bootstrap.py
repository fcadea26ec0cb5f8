import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.coverage import Design, coverage
from roformermil.evaluation.bootstrap import draws, expanded_tails, over_folds, percentile_interval
from roformermil.evaluation.weighted import weighted_scores
from roformermil.metrics import score


def test_the_middle_is_the_mean_over_folds(simulated):
    found = simulated(np.random.default_rng(0))
    middle = over_folds(found, np.ones((1, len(found.labels))), weighted_scores)
    folds = [score(found.labels[here], found.probabilities[here]) for k in range(5) if (here := found.folds == k).any()]
    assert middle["auroc"][0] == pytest.approx(np.mean([fold["auroc"] for fold in folds]))


def test_patients_are_drawn_with_all_their_slides(simulated):
    found = simulated(np.random.default_rng(1))
    weights = draws(found, 100)
    for patient in np.unique(found.patients):
        of = weights[:, found.patients == patient]
        assert (of == of[:, :1]).all()
    patients = np.array([weights[:, found.patients == p][:, 0] for p in np.unique(found.patients)])
    assert (patients.sum(axis=0) == len(patients)).all(), "as many patients as there are"
    assert (draws(found, 100) == weights).all(), "from a seed"


def test_slides_of_one_patient_are_no_new_information(simulated):
    """Every slide twice: the interval stays. A bootstrap of slides would shrink it by the square root of 2."""
    found = simulated(np.random.default_rng(2), patients=80)
    twice = type(found)(
        *found.key, found.classes, *(np.concatenate([getattr(found, name)] * 2) for name in
        ("slides", "patients", "folds", "labels", "probabilities")),
    )  # fmt: skip
    widths = []
    for one in (found, twice):
        low, high = percentile_interval(over_folds(one, draws(one), weighted_scores)["auroc"], expanded_tails(one))
        widths.append(high - low)
    assert widths[0] == pytest.approx(widths[1], rel=0.02)


def test_a_perfect_figure_has_no_interval(simulated):
    """Every drawing of patients gives 1.00 again: that is no proof that another test set would."""
    found = simulated(np.random.default_rng(3))
    found = replace(found, probabilities=np.eye(2)[found.labels])
    drawn = over_folds(found, draws(found, 200), weighted_scores)
    for name in ("auroc", "average_precision", "accuracy"):
        assert np.isnan(percentile_interval(drawn[name], expanded_tails(found))).all(), name


def test_intervals_are_the_quantiles_of_what_moves():
    values = np.stack([np.arange(101.0), np.full(101, 0.3), np.where(np.arange(101) < 60, np.nan, 1.0)], axis=1)
    low, high = percentile_interval(values, (0.1, 0.9))
    assert (low[0], high[0]) == (10, 90) and np.isnan([*low[1:], *high[1:]]).all()


def test_tails_are_expanded_as_for_so_many_patients(simulated):
    """One fold, one slide each: Hesterberg's quantile for n = 20, with t(0.975, 19) = 2.093 from a table."""
    found = simulated(np.random.default_rng(0), patients=20, folds=1)
    first = np.unique(found.patients, return_index=True)[1]
    found = replace(
        found,
        **{name: getattr(found, name)[first] for name in ("slides", "patients", "folds", "labels", "probabilities")},
    )
    tail = 0.5 * math.erfc(2.093 * math.sqrt(20 / 19) / math.sqrt(2))
    assert expanded_tails(found) == pytest.approx((tail, 1 - tail), rel=1e-3)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    found = coverage(Design(200, 10, 0.5, 1.2), runs=1000, replicates=500)
    assert all(0.93 <= share <= 0.97 for share, _ in found.values()), found


@pytest.mark.slow
def test_intervals_hold_with_few_positives_too():
    found = coverage(Design(200, 10, 0.2, 1.2), runs=1000, replicates=500)
    assert 0.93 <= found["auroc"][0] <= 0.97 and 0.93 <= found["average_precision"][0] <= 0.97
    assert found["average_precision"][1] > 0.03 > abs(found["auroc"][1]), "what the cautions say of few positives"


@pytest.mark.slow
def test_the_simulation_would_show_intervals_that_are_too_narrow():
    found = coverage(Design(200, 10, 0.5, 1.2), 300, 300, lambda found: (0.1, 0.9))
    assert all(share < 0.9 for share, _ in found.values())
