"""Operating points: the probability from which a slide is called positive, chosen on each training's validation slides."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from roformermil.config.decisions import Decisions
from roformermil.evaluation.intervals import ROUND_OFF
from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.temperature import Run, runs_of_rows
from roformermil.tasks.class_metrics import counted_classes

NONE_POSITIVE = 1.01  # a threshold above every probability
MEANS = ["temperature", "threshold"]
MEANS += ["sensitivity", "specificity", "positives", "negatives"]  # of the validation slides
COLUMNS = [*KEYS, "fold", "seed", "class", "operating_point", *MEANS]


class OperatingPoint(NamedTuple):
    """A threshold, and what it reaches on the slides that it was chosen on."""

    threshold: float  # NaN where a class has no slide
    sensitivity: float
    specificity: float


def choose_operating_point(truth: np.ndarray, scores: np.ndarray, settings: Decisions) -> OperatingPoint:
    """The operating point of n slides that is best by the settings: slides are positive from the threshold on.

    truth: (n,) bool; scores: (n,) from 0 to 1. Thresholds lie midway between neighbouring scores. Among equally good ones it
    is that at which sensitivity and specificity are closest.
    """
    if truth.all() or not truth.any():
        return OperatingPoint(np.nan, np.nan, np.nan)
    false_alarms, sensitivity, values = roc_curve(truth, scores, drop_intermediate=False)
    specificity, values = 1 - false_alarms, values[1:]  # before them is infinity, where none is positive
    thresholds = np.concatenate([[NONE_POSITIVE], (values[:-1] + values[1:]) / 2, [0.0]])
    good = sensitivity + specificity  # Youden's index + 1
    if settings.sensitivity is not None:
        good = np.where(sensitivity >= settings.sensitivity - ROUND_OFF, specificity, -1)
    elif settings.specificity is not None:
        good = np.where(specificity >= settings.specificity - ROUND_OFF, sensitivity, -1)
    best = np.flatnonzero(good >= good.max() - ROUND_OFF)
    chosen = best[np.argmin(np.abs(sensitivity - specificity)[best])]
    return OperatingPoint(float(thresholds[chosen]), float(sensitivity[chosen]), float(specificity[chosen]))


def operating_points(validation: OutOfFold, temperatures: Mapping[Run, float], settings: Decisions) -> pd.DataFrame:
    """The operating point of each training and class, and what it was chosen on: COLUMNS.

    validation: predictions of validation slides, at these temperatures.
    """
    rows = []
    for run, own in zip(validation.runs, validation.tests, strict=True):
        for c in counted_classes(validation.predictions):
            truth = validation.targets[own] == c
            point = choose_operating_point(truth, validation.predictions[own, c], settings)
            chosen = (validation.classes[c], settings.rule, temperatures.get(run, 1.0), *point)
            rows.append((*validation.key, *run, *chosen, int(truth.sum()), int((~truth).sum())))
    return pd.DataFrame(rows, columns=COLUMNS)


def ensemble_points(validation: OutOfFold, points: pd.DataFrame) -> pd.DataFrame:
    """The operating points of the ensemble of each seed's models, as one fold: the median threshold of its members, which are of
    the first repeat, and means of what else they have. One that calls every slide or none would decide a mean threshold."""
    members = points[points.fold < (validation.folds_per_repeat or np.inf)]
    keys = [*KEYS, "seed", "class", "operating_point"]
    of_members = members.groupby(keys, sort=False)
    means = of_members[MEANS].mean().assign(threshold=of_members.threshold.median())
    return means.reset_index().assign(fold=0)[COLUMNS]


def thresholds_of_rows(model: OutOfFold, points: pd.DataFrame, c: int) -> np.ndarray:
    """The threshold for class `c` of the training of each of the n predictions; NaN where it has none. points: of any models."""
    own = points[(points[[*KEYS, "class"]] == [*model.key, model.classes[c]]).all(axis=1)]
    by_run = dict(zip(zip(own.fold, own.seed, strict=True), own.threshold, strict=True))
    return np.array([by_run.get(run, np.nan) for run in runs_of_rows(model)], float)


def calls(model: OutOfFold, points: pd.DataFrame, c: int) -> np.ndarray:
    """Whether each of the n predictions is called class `c`: 1 or 0, NaN where its training has no operating point."""
    thresholds = thresholds_of_rows(model, points, c)
    return np.where(np.isnan(thresholds), np.nan, model.predictions[:, c] >= thresholds)
