"""Decision curves against the package dcurves, written by the method's authors' group."""

import numpy as np
import pytest

from roformermil.evaluation.net_benefit import THRESHOLDS, decision_curves, net_benefits
from roformermil.evaluation.predictions import OutOfFold
from roformermil.tasks import Classification

DCURVES = [  # threshold, net benefit of the fixture `clustered`, and of treating all
    (0.1, 0.252777778, 0.25),
    (0.2, 0.1625, 0.15625),
    (0.35, 0.075, -0.038461538),
    (0.5, 0.075, -0.35),
    (0.65, -0.107142857, -0.928571429),
    (0.8, -0.025, -2.375),
]


def one_fold(truth, scores, patients) -> OutOfFold:
    n = len(truth)
    probabilities = np.stack([1 - scores, scores], axis=1)
    slides = np.array([f"s{k}" for k in range(n)])
    return OutOfFold(
        "set",
        "net",
        "m",
        Classification(("no", "yes")),
        slides,
        patients,
        np.zeros(n, int),
        truth.astype(int),
        probabilities,
        np.ones(n, int),
    )


def test_net_benefit_is_that_of_dcurves(clustered):
    """dcurves 1.1.7: `dca(data=..., outcome="truth", modelnames=["score"])`."""
    truth, scores, patients = clustered
    table = decision_curves([one_fold(truth, np.clip(scores, 0, 1), patients)]).set_index("threshold")
    for threshold, model, treat_all in DCURVES:
        row = table.loc[threshold]
        assert (row.net_benefit, row.treat_all) == pytest.approx((model, treat_all))
        assert row.gain == pytest.approx(model - max(treat_all, 0))
        assert row.ci_low < row.net_benefit < row.ci_high


def test_false_positives_cost_the_odds_of_the_threshold():
    """Nine false positives are worth one true positive at 10%."""
    truth = np.array([True] + 9 * [False])
    benefit = net_benefits(truth, np.ones((10, len(THRESHOLDS)))).mean(axis=0)
    assert benefit[np.isclose(THRESHOLDS, 0.1)] == pytest.approx(0) and (np.diff(benefit) < 0).all()


def test_seeds_are_averaged_and_are_no_further_slides(simulate):
    predictions = simulate(2, seeds=2)
    by_seed = [decision_curves([predictions.select(predictions.seeds == seed)]) for seed in (1, 2)]
    both = decision_curves([predictions])
    assert both.net_benefit.to_numpy() == pytest.approx(np.mean([one.net_benefit for one in by_seed], axis=0))
    assert both.treat_all_high.equals(by_seed[0].treat_all_high)


def test_of_more_classes_each_has_a_curve_against_the_rest(simulate):
    predictions = simulate(3, classes=3)
    table = decision_curves([predictions])
    assert table["class"].value_counts().tolist() == [99] * 3
    share = (predictions.targets == 2).mean()
    row = table[(table["class"] == "class_2") & np.isclose(table.threshold, 0.2)].iloc[0]
    assert row.treat_all == pytest.approx(share - (1 - share) * 0.25)
