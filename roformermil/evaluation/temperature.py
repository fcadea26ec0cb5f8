"""Temperature scaling: probabilities are softened or sharpened by one number per training, fitted to its validation slides
(Guo et al. 2017, arXiv 1706.04599, section 4.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

if TYPE_CHECKING:  # pandas, which predicting slides need not load
    from roformermil.evaluation.predictions import OutOfFold

BOUNDS = (0.01, 100.0)
SMALLEST = np.finfo(float).tiny
Run = tuple[int, int]  # fold and seed


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature with the least log loss. labels: (n,); probabilities: (n, C).

    1, which changes nothing, without slides, and where the most probable class is right on all: the loss would then fall
    without end as the temperature approaches 0.
    """
    if (probabilities.argmax(axis=1) == labels).all():
        return 1.0
    logits, own = np.log(np.maximum(probabilities, SMALLEST)), (np.arange(len(labels)), labels)

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(logits / np.exp(log_temperature), axis=1)[own].mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(BOUNDS), method="bounded").x))


def scale(probabilities: np.ndarray, temperature: float | np.ndarray) -> np.ndarray:
    """Probabilities (..., C) at a temperature: above 1 they are less certain. temperature: a number, or (..., 1)."""
    return softmax(np.log(np.maximum(probabilities, SMALLEST)) / temperature, axis=-1)


def fit_temperatures(validation: "OutOfFold") -> dict[Run, float]:
    """The temperature of each training, from predictions of its validation slides."""
    pairs = zip(validation.runs, validation.tests, strict=True)
    return {run: fit_temperature(validation.targets[own], validation.predictions[own]) for run, own in pairs}


def scaled(model: "OutOfFold", temperatures: Mapping[Run, float]) -> "OutOfFold":
    """The predictions with each training's probabilities at its temperature; those with shuffled positions remain."""
    by_row = np.array([temperatures.get(run, 1.0) for run in runs_of_rows(model)])
    return replace(model, predictions=scale(model.predictions, by_row[:, None]))


def scaled_models(models: Sequence["OutOfFold"], validation: Sequence["OutOfFold"]) -> list["OutOfFold"]:
    """The predictions of each model at the temperatures of its validation slides."""
    return [scaled(model, fit_temperatures(own)) for model, own in zip(models, validation, strict=True)]


def runs_of_rows(model: "OutOfFold") -> list[Run]:
    """Fold and seed of each of the n predictions."""
    return list(zip(model.folds.tolist(), model.seeds.tolist(), strict=True))
