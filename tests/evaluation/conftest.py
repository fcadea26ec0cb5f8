import numpy as np
import pytest

from roformermil.evaluation.predictions import OutOfFold


@pytest.fixture
def simulated():
    """Out-of-fold predictions with a known population: simulated(rng, patients=..., folds=...).

    Patients have one to three slides, which share a part of the error of their score; scores have ties.
    """

    def make(rng, patients=60, folds=5, classes=2, model="m"):
        label, count = rng.integers(0, classes, patients), rng.integers(1, 4, patients)
        label[:classes] = range(classes)
        fold_of = rng.permutation(patients) % folds
        of = np.repeat(np.arange(patients), count)
        error = rng.normal(0, 0.7, (patients, classes))[of] + rng.normal(0, 0.7, (len(of), classes))
        scores = 1.2 * np.eye(classes)[label[of]] + error
        scores = scores.round(1)  # ties
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        names = [f"class_{c}" for c in range(classes)]
        slides, who = np.array([f"s{k}" for k in range(len(of))]), np.array([f"p{k}" for k in of])
        return OutOfFold("set", "net", model, names, slides, who, fold_of[of], label[of], probabilities)

    return make
