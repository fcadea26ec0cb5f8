"""Trainings that went wrong: those that never began to learn, and those that memorized their training slides."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from roformermil.bags.balance import class_balance
from roformermil.config import Training
from roformermil.config.model import LINEAR
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.intervals import patient_intervals
from roformermil.evaluation.predictions import OutOfFold, out_of_fold, read_table
from roformermil.runtime.text import join_some
from roformermil.tasks import METRIC_TITLES
from roformermil.tasks.class_metrics import finite_mean

# of the entropy of class frequencies: calibrated normal scores of two equal classes reach it with an AUROC of 0.65
PLATEAU = 0.95
OVERFIT_GAP = 0.5  # of the way from guessing to a perfect fit: 0.25 of AUROC
PLATEAU_REMEDY = "a higher training.learning_rate or more training.patience may help"
OVERFIT_REMEDY = (
    "more patients, a smaller training.tile_fraction, training.augment_grid or a smaller hidden_dim may help"
)
DEFAULT_TRAINING = Training()
Key = tuple[str, str, str]
Run = tuple[int, int]  # fold and seed


class Learning(NamedTuple):
    """How one training went."""

    run: Run
    train: float  # the main metric of its training slides
    validation: float
    on_plateau: (
        bool  # whether it never left the loss of guessing; without classes, whether it hardly fits its training slides
    )
    is_discarded: bool  # whether it did, but the epoch that was kept lies before: its validation loss rose as its training loss fell


def learning_cautions(results: Sequence[FoldResult]) -> dict[Key, list[str]]:
    """By data set, encoder and model, a sentence for each thing that went wrong in training, with folds and remedy: none where
    nothing did, and for linear models, which are fitted to the optimum: their epochs are strengths of regularization. Reads each fold's history.csv too."""
    cautions: dict[Key, list[str]] = {result.key: [] for result in results}
    results = [result for result in results if result.settings["models.name"] not in LINEAR]
    for train, validation, losses, settings in _parts(results):
        trainings = describe_learning(train, validation, losses, settings)
        lines = [
            _plateau_sentence(trainings, train),
            _discarded_sentence(trainings),
            _overfit_sentence(trainings, validation),
        ]
        cautions[train.key] = [f"{train.dataset}, {train.model}: {line}" for line in lines if line]
    return cautions


def count_plateaus(results: Sequence[FoldResult]) -> dict[Key, tuple[int, int]]:
    """By data set, encoder and model, how many trainings never left their plateau, and how many there are."""
    trainings = {
        train.key: describe_learning(train, validation, losses, settings)
        for train, validation, losses, settings in _parts(results)
    }
    return {key: (sum(one.on_plateau for one in runs), len(runs)) for key, runs in trainings.items()}


def _parts(results: Sequence[FoldResult]) -> list[tuple[OutOfFold, OutOfFold, dict[Run, float], Training]]:
    """Of each model its predictions for training and for validation slides, the lowest training loss of each training, and its
    settings."""
    losses: dict[Key, dict[Run, float]] = {}
    settings = {one.key: one.training for one in results}
    for one in results:
        lowest = read_table(one.path.with_name("history.csv")).train_loss.min()
        losses.setdefault(one.key, {})[one.fold, one.trained_seed] = float(lowest)
    train, validation = (out_of_fold(list(results), part) for part in ("train", "validation"))
    return [(one, other, losses[one.key], settings[one.key]) for one, other in zip(train, validation, strict=True)]


def _plateau_sentence(trainings: Sequence[Learning], model: OutOfFold) -> str:
    if not (stuck := [one.run for one in trainings if one.on_plateau]):
        return ""
    task = model.task
    effect = "their training loss is hardly below that of guessing by class frequencies"
    if not task.classes:
        effect = f"the {METRIC_TITLES[task.main]} of their own training slides is at most {task.plateau:g}"
    remedy = f"Unless these features cannot {task.aim[1]}, {PLATEAU_REMEDY}"
    return f"{_name_runs(stuck, trainings)} never left their plateau: {effect}. {remedy}"


def _discarded_sentence(trainings: Sequence[Learning]) -> str:
    if not (runs := [one.run for one in trainings if one.is_discarded]):
        return ""
    effect = "validation loss rose while training loss fell, so an epoch was kept that had hardly learned anything"
    return f"{_name_runs(runs, trainings)} overfit from the start ({effect}): {OVERFIT_REMEDY}"


def _overfit_sentence(trainings: Sequence[Learning], validation: OutOfFold) -> str:
    """Validation slides are few, and differ by chance: the model is judged by the mean over the trainings that learned, and by its
    interval over patients, which must exclude the main metric of the training slides."""
    learned = [one for one in trainings if not (one.on_plateau or one.is_discarded)]
    task = validation.task
    gap = OVERFIT_GAP * (1 - task.chance)
    if not (overfit := [one.run for one in learned if one.train - one.validation > gap]):
        return ""
    train, reached = finite_mean(np.array([(one.train, one.validation) for one in learned]))
    masks = dict(zip(validation.runs, validation.tests, strict=True))
    judged = validation.select(np.any([masks[one.run] for one in learned if one.run in masks], axis=0))
    highest = patient_intervals(judged, task.weighted_metrics)[task.main][1]
    if not (train - reached > gap and highest < train):
        return ""
    effect = f"{METRIC_TITLES[task.main]} {train:.2f} against {reached:.2f}, mean over folds"
    which = f"{_name_runs(overfit, trainings)} fit their training slides far better than validation slides"
    return f"{which} ({effect}): {OVERFIT_REMEDY}"


def describe_learning(
    train: OutOfFold, validation: OutOfFold, losses: Mapping[Run, float], settings: Training = DEFAULT_TRAINING
) -> list[Learning]:
    """How each training of a model went. train, validation: its predictions for the slides of these parts; losses: the lowest
    training loss of each training, by fold and seed; settings: how it weighs the classes, which count in losses accordingly."""
    trainings = []
    tests = dict(zip(validation.runs, validation.tests, strict=True))
    for run, rows in zip(train.runs, train.tests, strict=True):
        own = train.select(rows)
        value = _main_metric(own)
        other = validation.select(tests.get(run, np.zeros(len(validation.targets), bool)))
        kept_on_plateau = value <= train.task.plateau
        on_plateau = kept_on_plateau
        if train.classes:
            weights = class_balance(own.targets, len(train.classes), settings).per_slide[own.targets]
            kept_on_plateau = relative_cross_entropy(own.targets, own.predictions, weights) > PLATEAU
            on_plateau = losses[run] / label_entropy(own.targets, weights) > PLATEAU
        is_discarded = not on_plateau and kept_on_plateau
        trainings.append(Learning(run, value, _main_metric(other), on_plateau, is_discarded))
    return trainings


def _main_metric(model: OutOfFold) -> float:
    if not len(model.targets):
        return float("nan")
    return model.task.compute_metrics(model.targets, model.predictions)[model.task.main]


def label_entropy(labels: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The entropy of the frequencies of labels (n,), in nats: the cross-entropy of guessing by them. NaN for one class.

    weights: (n,) what each slide counts.
    """
    counts = np.bincount(labels, weights)
    frequencies = counts / counts.sum()
    entropy = -(frequencies[frequencies > 0] * np.log(frequencies[frequencies > 0])).sum()
    return float(entropy) if entropy > 0 else float("nan")


def relative_cross_entropy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The cross-entropy of labels (n,) and probabilities (n, C) over the entropy of the labels' frequencies: 1 for a model that
    knows no more than these, 0 for a perfect one. NaN for slides of one class. weights: (n,) what each slide counts."""
    stated = np.clip(probabilities[np.arange(len(labels)), labels], 1e-12, 1)
    return float(np.average(-np.log(stated), weights=weights)) / label_entropy(labels, weights)


def _name_runs(runs: Sequence[tuple[int, int]], trainings: Sequence[Learning]) -> str:
    """`all 5 trainings`, `2 of 5 trainings (folds 0, 3)`, or with several seeds `4 of 15 trainings (folds 0, 3)`."""
    if len(runs) == len(trainings) > 1:
        return f"all {len(trainings)} trainings"
    folds = [str(fold) for fold in sorted({fold for fold, _ in runs})]
    return f"{len(runs)} of {len(trainings)} trainings ({'fold' if len(folds) == 1 else 'folds'} {join_some(folds)})"
