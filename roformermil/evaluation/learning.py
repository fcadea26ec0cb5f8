"""Trainings that went wrong, told from the predictions: those that never began to learn, and those that learned by heart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.intervals import patient_intervals
from roformermil.evaluation.metrics import auroc, finite_mean, weighted_metrics
from roformermil.evaluation.predictions import OutOfFold, out_of_fold
from roformermil.runtime.text import join_some

# of the entropy of class frequencies: calibrated normal scores of two equal classes reach it with an AUROC of 0.65
PLATEAU = 0.95
FAR = 0.25  # half of the way from guessing (AUROC 0.5) to a perfect fit
PLATEAU_REMEDY = "a higher training.learning_rate or more training.patience may help"
MEMORY_REMEDY = (
    "more patients, a smaller training.tile_fraction, training.augment_grid or a smaller hidden_dim may help"
)
Key = tuple[str, str, str]


class Learning(NamedTuple):
    """What the predictions of one training tell of it."""

    run: tuple[int, int]  # fold and seed
    cross_entropy: float  # of its training slides, over the entropy of their class frequencies
    fitted: float  # AUROC of its training slides
    reached: float  # and of its validation slides

    @property
    def on_plateau(self) -> bool:
        return self.cross_entropy > PLATEAU


def learning_cautions(results: Sequence[FoldResult]) -> dict[Key, list[str]]:
    """By data set, encoder and model, a sentence for each thing that went wrong in training, with folds and remedy: none where
    nothing did."""
    parts = (out_of_fold(list(results), part) for part in ("train", "validation"))
    return {train.key: _model_cautions(train, validation) for train, validation in zip(*parts, strict=True)}


def _model_cautions(train: OutOfFold, validation: OutOfFold) -> list[str]:
    trainings = describe_learning(train, validation)
    lines = [_plateau_sentence(trainings), _memory_sentence(trainings, validation)]
    return [f"{train.dataset}, {train.model}: {line}" for line in lines if line]


def _plateau_sentence(trainings: Sequence[Learning]) -> str:
    if not (stuck := [one.run for one in trainings if one.on_plateau]):
        return ""
    effect = "they predict their own training slides hardly better than class frequencies do"
    remedy = f"Unless these features cannot tell the classes apart, {PLATEAU_REMEDY}"
    return f"{_name_runs(stuck, trainings)} never left their plateau: {effect}. {remedy}"


def _memory_sentence(trainings: Sequence[Learning], validation: OutOfFold) -> str:
    """Validation slides are few, and differ by chance: the model is judged by the mean over the trainings that left their plateau,
    and by its interval over patients, which must exclude the AUROC of the training slides."""
    learned = [one for one in trainings if not one.on_plateau]
    if not (far := [one.run for one in learned if one.fitted - one.reached > FAR]):
        return ""
    fitted, reached = finite_mean(np.array([(one.fitted, one.reached) for one in learned]))
    masks = dict(zip(validation.runs, validation.tests, strict=True))
    judged = validation.select(np.any([masks[one.run] for one in learned if one.run in masks], axis=0))
    highest = patient_intervals(judged, weighted_metrics)["auroc"][1]
    if not (fitted - reached > FAR and highest < fitted):
        return ""
    effect = f"AUROC {fitted:.2f} against {reached:.2f}, mean over folds"
    which = f"{_name_runs(far, trainings)} fit their training slides far better than validation slides"
    return f"{which} ({effect}): {MEMORY_REMEDY}"


def describe_learning(train: OutOfFold, validation: OutOfFold) -> list[Learning]:
    """Of each training. train, validation: the predictions of one model's training and of its validation slides."""
    trainings = []
    tests = dict(zip(validation.runs, validation.tests, strict=True))
    for run, rows in zip(train.runs, train.tests, strict=True):
        labels, probabilities = train.labels[rows], train.probabilities[rows]
        other = tests.get(run, np.zeros(len(validation.labels), bool))
        reached = auroc(validation.labels[other], validation.probabilities[other])
        cross_entropy = relative_cross_entropy(labels, probabilities)
        trainings.append(Learning(run, cross_entropy, auroc(labels, probabilities), reached))
    return trainings


def relative_cross_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The cross-entropy of labels (n,) and probabilities (n, C) over the entropy of the labels' frequencies: 1 for a model that
    knows no more than these, 0 for a perfect one. NaN for slides of one class."""
    frequencies = np.bincount(labels) / len(labels)
    entropy = -(frequencies[frequencies > 0] * np.log(frequencies[frequencies > 0])).sum()
    stated = np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1)
    return float(-np.log(stated).mean() / entropy) if entropy > 0 else float("nan")


def _name_runs(runs: Sequence[tuple[int, int]], trainings: Sequence[Learning]) -> str:
    """`all 5 trainings`, `2 of 5 trainings (folds 0, 3)`, or with several seeds `4 of 15 trainings (folds 0, 3)`."""
    if len(runs) == len(trainings) > 1:
        return f"all {len(trainings)} trainings"
    folds = [str(fold) for fold in sorted({fold for fold, _ in runs})]
    return f"{len(runs)} of {len(trainings)} trainings ({'fold' if len(folds) == 1 else 'folds'} {join_some(folds)})"
