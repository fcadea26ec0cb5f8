import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from roformermil.evaluation.curves import POINTS, curves, expanded_tails, percentile_band, resampling_weights


def test_the_curves_of_one_fold_are_scikit_learns(simulate):
    predictions = simulate(0, patients=100, folds=1)
    both = curves(predictions)
    fall_out, recall, _ = roc_curve(predictions.targets, predictions.predictions[:, 1], drop_intermediate=False)
    assert both["roc"].middle[1:-1] == pytest.approx(np.interp(POINTS, fall_out, recall)[1:-1], abs=0.02)
    area = np.trapezoid(both["roc"].middle, POINTS)
    assert area == pytest.approx(roc_auc_score(predictions.targets, predictions.predictions[:, 1]), abs=0.005)
    precision, recall, _ = precision_recall_curve(predictions.targets, predictions.predictions[:, 1])
    for point, value in list(zip(POINTS, both["pr"].middle, strict=True))[1::10]:
        reached = precision[recall >= point - 1e-9]
        assert value in reached or value == pytest.approx(reached[-1])


def test_bands_contain_their_curve_and_narrow_with_patients(simulate):
    widths = []
    for patients in (40, 400):
        curve = curves(simulate(1, patients=patients, folds=2))["roc"]
        low, middle, high = (values[5:60] for values in (curve.low, curve.middle, curve.high))
        assert (low <= middle + 1e-9).all() and (middle <= high + 1e-9).all()
        widths.append((high - low).mean())
    assert widths[1] < widths[0] / 2


def test_seeds_are_no_further_patients(simulate):
    """The same predictions from two seeds have the curve and band of one."""
    one = simulate(3)
    same = one.select(np.tile(np.arange(len(one.targets)), 2))
    same.seeds[len(one.targets) :] = 2
    for first, second in zip(curves(one).values(), curves(same).values(), strict=True):
        assert all(a == pytest.approx(b) for a, b in zip(first, second, strict=True))


def test_curves_of_perfect_scores_are_1_everywhere(simulate):
    predictions = simulate(2)
    for curve in curves(replace(predictions, predictions=np.eye(2)[predictions.targets])).values():
        assert (curve.middle == 1).all() and (curve.low == 1).all()


def test_bands_contain_slightly_more_than_95_percent_of_resampled_curves(simulate):
    """Against samples of patients drawn one by one, with scikit-learn's curve of each; the tails are expanded."""
    predictions = simulate(4, patients=80, folds=1)
    rng, resampled = np.random.default_rng(5), []
    rows = [np.flatnonzero(predictions.patients == patient) for patient in np.unique(predictions.patients)]
    for _ in range(400):
        chosen = np.concatenate([rows[k] for k in rng.integers(0, len(rows), len(rows))])
        fall_out, recall, _ = roc_curve(predictions.targets[chosen], predictions.predictions[chosen, 1])
        resampled.append(np.interp(POINTS, fall_out, recall))
    curve = curves(predictions)["roc"]
    inside = (np.array(resampled) >= curve.low - 1e-9) & (np.array(resampled) <= curve.high + 1e-9)
    assert 0.94 < inside[:, 10:60].mean() < 0.985


def test_patients_are_drawn_with_all_their_slides_from_a_seed(simulate):
    predictions = simulate(1)
    weights = resampling_weights(predictions, 100)
    by_patient = [weights[:, predictions.patients == patient] for patient in np.unique(predictions.patients)]
    assert all((counts == counts[:, :1]).all() for counts in by_patient)
    assert (sum(counts[:, 0] for counts in by_patient) == len(by_patient)).all(), "as many patients as there are"
    assert (resampling_weights(predictions, 100) == weights).all()


def test_a_band_is_the_quantiles_where_half_of_the_replicates_have_a_value():
    values = np.stack([np.arange(101.0), np.where(np.arange(101) < 60, np.nan, 1.0)], axis=1)
    low, high = percentile_band(values, (0.1, 0.9))
    assert (low[0], high[0]) == (10, 90) and np.isnan([low[1], high[1]]).all()


def test_tails_are_expanded_by_the_number_of_patients(simulate):
    """Hesterberg's quantile for n = 20 patients in one fold, of whom 7 are of the smaller class, with t(0.975, 6) = 2.447 from a
    table."""
    predictions = simulate(0, patients=20, folds=1)
    assert min(predictions.patients_by_class().values()) == 7
    tail = 0.5 * math.erfc(2.447 * math.sqrt(20 / 19) / math.sqrt(2))
    assert expanded_tails(predictions) == pytest.approx((tail, 1 - tail), rel=1e-3)
