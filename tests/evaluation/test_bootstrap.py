import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

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


def coverage(simulated, runs: int, replicates: int, tails) -> float:
    rng = np.random.default_rng(0)
    population = simulated(rng, patients=100_000, folds=1)
    truth = roc_auc_score(population.labels, population.probabilities[:, 1])
    inside = 0
    for _ in range(runs):
        found = simulated(rng, patients=200, folds=10)
        found.__dict__["dataset"] = f"set_{_}"  # draws of its own
        low, high = percentile_interval(
            over_folds(found, draws(found, replicates), lambda *x: {"auroc": weighted_scores(*x)["auroc"]})["auroc"],
            tails(found),
        )
        inside += low <= truth <= high
    return inside / runs


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say(simulated):
    assert 0.93 <= coverage(simulated, 1000, 500, expanded_tails) <= 0.97


@pytest.mark.slow
def test_the_simulation_would_show_intervals_that_are_too_narrow(simulated):
    assert coverage(simulated, 300, 300, lambda found: (0.1, 0.9)) < 0.9
