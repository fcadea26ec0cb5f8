"""What weighted classes or balanced draws in training mean for a model's probabilities, in sentences."""

from collections.abc import Mapping, Sequence

import numpy as np

from roformermil.bags.balance import class_balance
from roformermil.config import Training, Unit
from roformermil.evaluation.fold_results import FoldResult


def balance_sentences(
    training: Training, classes: Sequence[str], counts: Mapping[str, int], unit: Unit = "slide"
) -> list[str]:
    """What training did about classes of unequal size, and its effect; none where every slide counted the same.

    counts: slides of each class, or patients where these are the unit.
    """
    labels = np.repeat(np.arange(len(classes)), [counts.get(name, 0) for name in classes])
    balance = class_balance(labels, len(classes), training)
    if balance.is_plain:
        return []
    if training.sampler == "balanced":
        done = f"{unit.capitalize()}s were drawn so that all classes are equally frequent in training"
    else:
        done = f"The loss of a {unit} was weighted by its class"
    if training.class_weights not in ("none", "balanced"):
        done += f" ({_list_shares(classes, balance.weights, '.2f')})"
    shares = f"{_list_shares(classes, balance.frequencies, '.0%')} of the {unit}s count as"
    effect = "Probabilities are calibrated to these, not to how frequent the classes are; AUROC needs no calibration."
    return [f"{done}: {shares} {_list_shares(classes, balance.effective, '.0%')}.", effect]


def balance_cautions(results: Sequence[FoldResult]) -> dict[tuple[str, str], list[str]]:
    """By data set and encoder, that probabilities of its models are not calibrated to the classes' frequencies; none where
    training counted every slide the same."""
    cautions: dict[tuple[str, str], list[str]] = {}
    for result in results:
        training = result.training
        if training.sampler == "balanced" or training.class_weights != "none":
            effect = "probabilities, accuracy and calibration are not those at the classes' own frequencies"
            line = (
                f"{result.dataset}: training weighted the classes (training.class_weights, training.sampler): {effect}"
            )
            cautions[result.dataset, result.encoder] = [line]
    return cautions


def _list_shares(classes: Sequence[str], values: np.ndarray, form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in zip(classes, values, strict=True))
