import numpy as np
import pytest

from roformermil.evaluation.predictions import OutOfFold
from roformermil.tasks import Classification


@pytest.fixture
def simulate():
    """Makes out-of-fold predictions from a known population: simulate(seed, patients=..., folds=...).
    Patients have one to three slides, which share a part of the error of their scores; scores have ties. Further seeds see the
    same slides with other errors; with `shuffled`, two repeats in which scores favour no class."""

    def make(seed, patients=60, folds=5, classes=2, model="m", seeds=1, shuffled=False):
        rng = np.random.default_rng(seed)
        label, count = rng.integers(0, classes, patients), rng.integers(1, 4, patients)
        label[:classes] = range(classes)
        fold_of = rng.permutation(patients) % folds
        patient = np.repeat(np.arange(patients), count)
        truth = np.eye(classes)[label[patient]]

        def draw(effect=1.2):
            error = rng.normal(0, 0.7, (patients, classes))[patient] + rng.normal(0, 0.7, (len(patient), classes))
            scores = np.exp((effect * truth + error).round(1))  # ties
            return scores / scores.sum(axis=1, keepdims=True)

        names = [f"class_{c}" for c in range(classes)]
        slides, ids = np.array([f"s{k}" for k in range(len(patient))]), np.array([f"p{k}" for k in patient])
        of_slide = (np.tile(values, seeds) for values in (slides, ids, fold_of[patient], label[patient]))
        probabilities = np.concatenate([draw() for _ in range(seeds)])
        repeats = np.stack([np.concatenate([draw(0) for _ in range(seeds)]) for _ in range(2)]) if shuffled else None
        numbers = np.repeat(np.arange(1, seeds + 1), len(patient))
        return OutOfFold("set", "net", model, Classification(tuple(names)), *of_slide, probabilities, numbers, repeats)

    return make


@pytest.fixture
def clustered():
    """40 slides of 17 patients, whose scores are alike: truth (n,), scores (n,) and patients (n,), from a formula, so that another
    program can be given the same."""
    k = np.arange(40)
    number = (k * 7) % 17
    truth = number % 3 == 0
    scores = ((number * 5) % 17) / 25 + ((k * 37) % 41) / 200 + 0.15 * truth
    return truth, scores, np.array([f"p{one}" for one in number])
