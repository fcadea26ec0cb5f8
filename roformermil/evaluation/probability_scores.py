"""How good probabilities are, before and after temperature scaling: log loss and Brier score."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from roformermil.evaluation.intervals import (
    Values,
    degrees_of_freedom,
    jackknife_interval,
    leave_patients_out,
    mean_over_folds,
)
from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.temperature import Run
from roformermil.tasks.class_metrics import finite_mean

SMALLEST = np.finfo(float).eps  # as in scikit-learn: a wrong certain prediction would have an infinite loss
NAMES = ("log_loss", "brier")
VALUES = ["mean", "ci_low", "ci_high", "scaled", "scaled_low", "scaled_high"]
VALUES += ["difference", "difference_low", "difference_high", "baseline"]
COLUMNS = [*KEYS, "metric", *VALUES, "temperature"]
UNBOUNDED = (-np.inf, np.inf)


def weighted_scores(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> Values:
    """`log_loss` and `brier`, (R,) each, for weights (R, n): both are lower the better. The Brier score is halved for two
    classes, as scikit-learn's is."""
    own = probabilities[np.arange(len(labels)), labels]
    squared = np.square(probabilities - np.eye(probabilities.shape[1])[labels]).sum(axis=1)
    halved = squared / 2 if probabilities.shape[1] == 2 else squared
    total = np.where(weights.sum(axis=1) > 0, weights.sum(axis=1), np.nan)
    return {"log_loss": weights @ -np.log(np.maximum(own, SMALLEST)) / total, "brier": weights @ halved / total}


def score_table(
    models: Sequence[OutOfFold],
    scaled: Sequence[OutOfFold],
    trained: Sequence[OutOfFold],
    temperatures: Sequence[Mapping[Run, float]],
) -> pd.DataFrame:
    """Each model's scores, means over folds with 95% intervals by patient, as predicted and `scaled` by a temperature; by how much
    scaling lowers them; the `baseline` of predicting the class frequencies of the training slides; and the temperature, mean over
    trainings: COLUMNS.

    models, scaled: the same test slides; trained: predictions of the training slides.
    """
    rows = []
    for model, after, training, own in zip(models, scaled, trained, temperatures, strict=True):
        if model.trained_on:  # the ensemble's training slides are those of all folds
            own = {run: one for run, one in own.items() if run[0] < (training.folds_per_repeat or np.inf)}
            training = training.as_one_fold()
        before, lowered = (leave_patients_out(one, weighted_scores) for one in (model, after))
        baseline = mean_over_folds(_frequencies(model, training), weighted_scores)
        for name in NAMES:
            values, degrees = (before[name], lowered[name]), degrees_of_freedom(model, name)
            cells = [(value[0], *jackknife_interval(value, degrees, bounds=(0, np.inf))) for value in values]
            change = values[0] - values[1]
            cells += [(change[0], *jackknife_interval(change, degrees, bounds=UNBOUNDED)), (baseline[name][0],)]
            numbers = [number for cell in cells for number in cell]
            rows.append((*model.key, name, *numbers, np.mean(list(own.values()))))
    return pd.DataFrame(rows, columns=COLUMNS)


def _frequencies(model: OutOfFold, training: OutOfFold) -> OutOfFold:
    """The predictions of who only knows how frequent each class is among the slides of each training."""
    probabilities = np.empty_like(model.predictions)
    frequency = dict(zip(training.runs, (_share(training, own) for own in training.tests), strict=True))
    for run, own in zip(model.runs, model.tests, strict=True):
        probabilities[own] = frequency[run]
    return replace(model, predictions=probabilities, shuffled=None)


def _share(training: OutOfFold, own: np.ndarray) -> np.ndarray:
    return finite_mean(np.eye(len(training.classes))[training.targets[own]])
