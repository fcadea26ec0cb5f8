import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score, roc_curve

from roformermil.evaluation.curves import POINTS, curves


def test_one_folds_curves_are_scikit_learns(simulated):
    found = simulated(np.random.default_rng(0), patients=100, folds=1)
    both = curves(found)
    fall_out, recall, _ = roc_curve(found.labels, found.probabilities[:, 1], drop_intermediate=False)
    assert both["roc"].middle[1:-1] == pytest.approx(np.interp(POINTS, fall_out, recall)[1:-1], abs=0.02)
    area = np.trapezoid(both["roc"].middle, POINTS)
    assert area == pytest.approx(roc_auc_score(found.labels, found.probabilities[:, 1]), abs=0.005)
    precision, recall, _ = precision_recall_curve(found.labels, found.probabilities[:, 1])
    for point, value in list(zip(POINTS, both["pr"].middle, strict=True))[1::10]:
        assert value in precision[recall >= point - 1e-9] or value == pytest.approx(
            precision[recall >= point - 1e-9][-1]
        )


def test_bands_hold_their_curve_and_narrow_with_patients(simulated):
    widths = []
    for patients in (40, 400):
        curve = curves(simulated(np.random.default_rng(1), patients=patients, folds=2))["roc"]
        inner = slice(5, 60)
        assert (curve.low[inner] <= curve.middle[inner] + 1e-9).all() and (
            curve.middle[inner] <= curve.high[inner] + 1e-9
        ).all()
        widths.append((curve.high - curve.low)[inner].mean())
    assert widths[1] < widths[0] / 2


def test_perfect_scores_are_at_the_top(simulated):
    found = simulated(np.random.default_rng(2))
    perfect = type(found)(
        *found.key, found.classes, found.slides, found.patients, found.folds, found.labels, np.eye(2)[found.labels]
    )
    for curve in curves(perfect).values():
        assert (curve.middle == 1).all() and (curve.low == 1).all()


def test_bands_hold_95_of_100_drawings_of_patients(simulated):
    """Against drawings made one by one, with scikit-learn's curve of each."""
    found = simulated(np.random.default_rng(4), patients=80, folds=1)
    rng, drawn = np.random.default_rng(5), []
    patients = np.unique(found.patients)
    of = {patient: np.flatnonzero(found.patients == patient) for patient in patients}
    for _ in range(400):
        chosen = np.concatenate([of[patient] for patient in rng.choice(patients, len(patients))])
        fall_out, recall, _ = roc_curve(found.labels[chosen], found.probabilities[chosen, 1])
        drawn.append(np.interp(POINTS, fall_out, recall))
    curve = curves(found)["roc"]
    inner = slice(10, 60)
    inside = (np.array(drawn) >= curve.low - 1e-9) & (np.array(drawn) <= curve.high + 1e-9)
    assert 0.94 < inside[:, inner].mean() < 0.985, "a little wider than 95%: expanded tails"
