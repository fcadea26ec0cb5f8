"""Abstention: what the slides that a model decides are worth when it leaves those that it is least sure of to a person (selective
classification: Geifman and El-Yaniv 2017, arXiv 1705.08500)."""

import numpy as np
import pandas as pd
from scipy.special import logit

from roformermil.evaluation.operating_points import thresholds_of_rows
from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.proportions import Proportion, proportion

SHARES = np.arange(20) / 20  # of validation slides that are left to a person
CLIP = 1e-15
COLUMNS = [*KEYS, "share", "metric", "class", "value", "ci_low", "ci_high"]


def decide(model: OutOfFold, points: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of each of the n predictions, the index of the class that is decided, and how sure the model is of it; NaN where its training
    has no operating point.

    Two classes: the decision at the operating point, and the distance from it in log-odds. More: the most probable class and
    its probability.
    """
    if len(model.classes) > 2:
        return model.decisions.astype(float), model.predictions.max(axis=1)
    thresholds = thresholds_of_rows(model, points, 1)
    scores = model.predictions[:, 1]
    decisions = np.where(np.isnan(thresholds), np.nan, scores >= thresholds)
    return decisions, np.abs(logit(np.clip(scores, CLIP, 1 - CLIP)) - logit(np.clip(thresholds, CLIP, 1 - CLIP)))


def abstention_table(models: list[OutOfFold], validation: list[OutOfFold], points: pd.DataFrame) -> pd.DataFrame:
    """For each of SHARES: the fraction of test slides that are left to a person (`left`), and of the others accuracy and the
    recall of each class, with 95% intervals by patient: COLUMNS.

    validation: predictions of validation slides, in the order of the models: a training leaves slides of which it is less sure
    than of this share of them; the ensemble that predicts an external data set, than its members together.
    """
    rows = []
    for model, own in zip(models, validation, strict=True):
        decisions, confidences = decide(model, points)
        _, of_validation = decide(own, points)
        for share in SHARES:
            kept = _kept(model, confidences, own, of_validation, share)
            labels, patients, means = model.mean_by_slide(np.stack([kept, kept * (decisions == model.targets)], axis=1))
            for metric, name, value in _proportions(labels, patients, means, model.classes):
                interval = (
                    value.interval if share or metric != "left" else (np.nan, np.nan)
                )  # none is left by definition
                rows.append((*model.key, share, metric, name, value.value, *interval))
    return pd.DataFrame(rows, columns=COLUMNS)


def _kept(
    model: OutOfFold, confidences: np.ndarray, validation: OutOfFold, of_validation: np.ndarray, share: float
) -> np.ndarray:
    """Whether each of the n test slides is decided: 1 or 0, NaN where its training decides none."""
    limits = {
        run: np.quantile(of_validation[own], share) if share else -np.inf
        for run, own in zip(validation.runs, validation.tests, strict=True)
    }
    kept = np.full(len(confidences), np.nan)
    for run, own in zip(model.runs, model.tests, strict=True):
        if run in limits:
            kept[own] = np.where(np.isnan(confidences[own]), np.nan, confidences[own] >= limits[run])
    return kept


def _proportions(
    labels: np.ndarray, patients: np.ndarray, means: np.ndarray, classes: list[str]
) -> list[tuple[str, str, Proportion]]:
    """Metric, class and value of a table's rows, of s slides. means: (s, 2), which share of trainings decides each, and
    decides it right."""
    kept, right = means.T
    by_class = [
        ("recall", name, proportion(*(values[labels == c] for values in (right, kept, patients))))
        for c, name in enumerate(classes)
    ]
    left = proportion(1 - kept, np.ones_like(kept), patients)
    return [("left", "", left), ("accuracy", "", proportion(right, kept, patients)), *by_class]
