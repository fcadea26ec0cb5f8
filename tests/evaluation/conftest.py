import numpy as np
import pytest

from roformermil.evaluation.predictions import OutOfFold


@pytest.fixture
def simulate():
    """Makes out-of-fold predictions from a known population: simulate(seed, patients=..., folds=...).
    Patients have one to three slides, which share a part of the error of their scores; scores have ties."""

    def make(seed, patients=60, folds=5, classes=2, model="m"):
        rng = np.random.default_rng(seed)
        label, count = rng.integers(0, classes, patients), rng.integers(1, 4, patients)
        label[:classes] = range(classes)
        fold_of = rng.permutation(patients) % folds
        patient = np.repeat(np.arange(patients), count)
        error = rng.normal(0, 0.7, (patients, classes))[patient] + rng.normal(0, 0.7, (len(patient), classes))
        scores = (1.2 * np.eye(classes)[label[patient]] + error).round(1)  # ties
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        names = [f"class_{c}" for c in range(classes)]
        slides, patients = np.array([f"s{k}" for k in range(len(patient))]), np.array([f"p{k}" for k in patient])
        return OutOfFold("set", "net", model, names, slides, patients, fold_of[patient], label[patient], probabilities)

    return make
