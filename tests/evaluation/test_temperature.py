"""Temperature scaling against scikit-learn's, and what it does to probabilities that are wrong in a known way."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from roformermil.evaluation.temperature import fit_temperature, fit_temperatures, scale, scaled


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_are_those_of_scikit_learns_temperature_scaling(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 300)
    features = rng.normal(size=(300, 4)) + np.eye(4)[labels]
    fitted = LogisticRegression(C=100).fit(features[:30], labels[:30])  # few slides: too certain
    reference = CalibratedClassifierCV(FrozenEstimator(fitted), method="temperature").fit(features[30:], labels[30:])
    probabilities = fitted.predict_proba(features)
    temperature = fit_temperature(labels[30:], probabilities[30:])
    assert temperature > 1.2
    assert scale(probabilities, temperature) == pytest.approx(reference.predict_proba(features), abs=2e-3)


@pytest.mark.parametrize("true", [0.5, 3.0])
def test_a_known_temperature_is_found(true):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (4000, 3))
    labels = np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    assert fit_temperature(labels, softmax(logits * true, axis=1)) == pytest.approx(true, rel=0.1)


def test_nothing_is_scaled_where_every_slide_is_right_or_there_is_none():
    assert fit_temperature(np.array([0, 1]), np.array([[0.6, 0.4], [0.0, 1.0]])) == 1
    assert fit_temperature(np.zeros(0, int), np.zeros((0, 2))) == 1
    certain = np.array([[1.0, 0.0], [0.3, 0.7]])
    assert scale(certain, 1.0) == pytest.approx(certain) and np.isfinite(scale(certain, 5.0)).all()


def test_each_training_has_its_own_and_the_order_of_its_slides_remains(simulate):
    validation, test = simulate(0, seeds=2), simulate(1, seeds=2)
    temperatures = fit_temperatures(validation)
    assert set(temperatures) == set(test.runs) and len(set(temperatures.values())) == len(test.runs)
    after = scaled(test, temperatures)
    for run, own in zip(test.runs, test.tests, strict=True):
        assert after.predictions[own] == pytest.approx(scale(test.predictions[own], temperatures[run]))
        assert roc_auc_score(test.predictions[own, 1] > 0.3, after.predictions[own, 1]) == 1
    assert (after.decisions == test.decisions).all()
