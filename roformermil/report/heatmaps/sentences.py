"""What a heat map shows, in sentences for a pathologist."""

import math

import numpy as np

from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.values import (
    is_even,
    is_part,
    share_of_bag,
    short_text,
    shuffled_margins,
    tiles_with_half,
    times_mean,
)
from roformermil.runtime.text import plural
from roformermil.tasks import Task

MOST_TIMES = 1e6  # larger factors are not spelled out
LEAST_TIMES = 1.1  # smaller ones are called hardly any change
ALMOST_SURE = 0.995  # probabilities above would be rounded to 1


def describe_prediction(prediction: Prediction, classes: list[str], label: str = "") -> str:
    """The predicted class, its probability and the label."""
    unit = "patient " if is_part(prediction) else ""
    if _is_other(prediction.task):
        return unit + prediction.task.describe_prediction(prediction.values, label)
    predicted = classes[int(prediction.probabilities.argmax())]
    text = f"{unit}predicted {predicted} (probability {_probability_text(prediction.probabilities.max())})"
    if not label:
        return text
    return f"{text}, labelled {label}" + ("" if label == predicted else ": wrong")


def is_wrong(prediction: Prediction, classes: list[str], label: str) -> bool:
    """Whether another class than the label is predicted; never where no class is."""
    return not _is_other(prediction.task) and label != classes[int(prediction.probabilities.argmax())]


def describe_maps(
    prediction: Prediction, shown: int, classes: list[str], shuffled: Prediction | None = None
) -> list[str]:
    """Sentences on what tiles together do to the odds of the class `shown`, on attention, and on positions: `shuffled` is the
    prediction with these shuffled. Where a patient's other slides are in the bag, also on this slide's share."""
    sentences = [_attention_sentence(prediction.map_attention[:, shown])]
    tiles = "the tiles"
    if is_part(prediction):
        tiles, share = "the tiles of this slide", share_of_bag(prediction, shown)
        sentences.insert(
            0, f"All slides of the patient are predicted together: this one has {share:.0%} of the attention."
        )
    if prediction.margins is not None:
        total, task = float(prediction.margins[:, shown].sum()), prediction.task
        describe = (
            _sum_sentence(total, task, tiles) if _is_other(task) else _odds_sentence(total, shown, classes, tiles)
        )
        sentences.insert(0, describe)
    if shuffled is not None:
        sentences.append(_position_sentence(prediction, shuffled, shown, classes))
    return sentences


def _odds_sentence(log_odds: float, shown: int, classes: list[str], tiles: str = "the tiles") -> str:
    """How far all `tiles` move the odds of a class; and what the colours say."""
    two = len(classes) == 2
    colours = (
        f"Red speaks for {classes[shown]}, blue {f'for {classes[0]}' if two else 'against it'}; pale counts little."
    )
    favoured = classes[0] if two and log_odds < 0 else classes[shown]
    odds = f"the odds of {favoured}" + ("" if two else " against the other classes")
    return f"{colours} {_odds_change(log_odds, odds, tiles, two or log_odds > 0)}"


def _sum_sentence(total: float, task: Task, tiles: str) -> str:
    """The same of a task without classes: how far all `tiles` move its prediction, in units of contributions."""
    name = task.mapped[0]
    colours = f"Red raises the {name}, blue lowers it; pale counts little."
    if task.odds_of:
        return f"{colours} {_odds_change(total, f'the odds of {task.odds_of}', tiles, total > 0)}"
    return f"{colours} Together, {tiles} add {short_text(total, '+')} to the model's baseline."


def _odds_change(log_odds: float, odds: str, tiles: str, rises: bool) -> str:
    times = math.exp(min(abs(log_odds), math.log(MOST_TIMES)))
    if times < LEAST_TIMES:
        return f"Together, {tiles} hardly change {odds}."
    factor = short_text(times) if times < 0.99 * MOST_TIMES else f"more than {MOST_TIMES:,.0f}"
    verb, place = ("raise", "over") if rises else ("lower", "below")
    return f"Together, {tiles} {verb} {odds} {factor} times {place} the model's baseline."


def _attention_sentence(attention: np.ndarray) -> str:
    """attention: (n,) for a class."""
    if is_even(attention):
        most = f"no tile has more than {times_mean(attention).max():.2f} times the mean of all tiles"
        return f"Attention is even (grey): {most}, so the model singles out no place."
    return f"Half of the attention is on {tiles_with_half(attention):,} of {plural(len(attention), 'tile')}."


def _position_sentence(prediction: Prediction, shuffled: Prediction, shown: int, classes: list[str]) -> str:
    if prediction.margins is not None and shuffled_margins(prediction, shuffled, shown) is None:
        return "Shuffling the tiles' positions hardly changes what each contributes."
    if _is_other(prediction.task):
        texts = [prediction.task.describe_prediction(one.values) for one in (prediction, shuffled)]
        return f"With the tiles' positions shuffled, {texts[1]} instead of {texts[0]}."
    before, after = (int(one.probabilities.argmax()) for one in (prediction, shuffled))
    if before != after:
        changed = f"the model would predict {classes[after]} ({_probability_text(shuffled.probabilities[after])})"
        return f"With the tiles' positions shuffled, {changed}: where tiles lie decides this prediction."
    values = [_probability_text(one.probabilities[before]) for one in (prediction, shuffled)]
    if values[0] == values[1]:
        effect = "does not change" if prediction.margins is None else "changes what tiles contribute, but not"
        return f"Shuffling the tiles' positions {effect} the prediction."
    change = f"takes the probability of {classes[before]} from {' to '.join(values)}"
    return f"Shuffling the tiles' positions {change}: this prediction depends on where tiles lie."


def _is_other(task: Task) -> bool:
    """Whether a task predicts no class."""
    return len(task.mapped) == 1


def _probability_text(probability: float) -> str:
    return "over 0.99" if probability > ALMOST_SURE else f"{probability:.2f}"
