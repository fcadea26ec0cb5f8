"""The rows of a fold's tables of predictions, from its trained model."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from roformermil.bags.augmentation import ORIENTATIONS, SHUFFLE_REPEATS, orient, shuffle_bag
from roformermil.bags.dataset import Bag
from roformermil.bags.folds import PARTS
from roformermil.training.fold_model import FoldModel


def predictions(fit: FoldModel) -> list[dict[str, Any]]:
    """Rows of predictions.csv, all bags of one part after the other: the slide and its patient, or where patients are the unit
    the patient alone; the label, and the task's predictions, such as a probability per class."""
    return [row for part in PARTS for row in part_predictions(fit, part)]


def part_predictions(fit: FoldModel, part: str) -> list[dict[str, Any]]:
    """The rows of one part."""
    return _rows(fit, part, {"part": part})


def shuffled_predictions(fit: FoldModel) -> list[dict[str, Any]]:
    """Rows of shuffled.csv: the test bags with the positions of each slide's tiles shuffled, SHUFFLE_REPEATS times; none for a
    model that uses no positions."""

    def shuffled(repeat: int) -> Callable[[Bag], Bag]:
        return lambda bag: shuffle_bag(bag, repeat)

    repeats = range(SHUFFLE_REPEATS if fit.job.model.uses_position else 0)
    return [row for repeat in repeats for row in _rows(fit, "test", {"repeat": repeat}, shuffled(repeat))]


def shuffled_columns(fit: FoldModel) -> list[str]:
    """The columns of shuffled.csv."""
    return [*_id_columns(fit), "label", "repeat", *fit.task.columns]


def _id_columns(fit: FoldModel) -> list[str]:
    return ["patient_id"] if fit.job.unit == "patient" else ["slide_id", "patient_id"]


def _rows(
    fit: FoldModel, part: str, columns: Mapping[str, str | int], change: Callable[[Bag], Bag] = lambda bag: bag
) -> list[dict[str, Any]]:
    """A row per bag of the part, predicted after `change`, with the same `columns` in each."""
    described, names = (*_id_columns(fit), "label"), (*columns, *fit.task.columns)
    firsts = [fit.data.bags[k][0] for k in fit.slides(part)]
    return [
        {name: getattr(first, name) for name in described} | dict(zip(names, (*columns.values(), *values), strict=True))
        for first, values in zip(firsts, _predictions(fit, part, change).tolist(), strict=True)
    ]


def _predictions(fit: FoldModel, part: str, change: Callable[[Bag], Bag]) -> np.ndarray:
    """Predictions (n, P) of a part's bags, means over the orientations of their grids if the settings say so."""
    if not (fit.job.training.average_orientations and fit.job.model.uses_position):
        return fit.evaluate(part, change)[1]

    def turned(orientation: int) -> Callable[[Bag], Bag]:
        return lambda bag: change(bag).with_moved_tiles(lambda grid, _: orient(grid, orientation))

    return np.mean([fit.evaluate(part, turned(orientation))[1] for orientation in range(ORIENTATIONS)], axis=0)
