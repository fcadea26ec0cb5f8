"""Covariates of a slide or patient as a vector: numbers standardized, categories one value each.

What decides the vector, such as means, is learned from the training part of a fold and kept with the model, so that slides of
others are encoded alike.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roformermil.bags.covariate_table import check_numbers, covariates_of_bags, number_columns
from roformermil.cohort.covariates import Cells, read_covariate_table
from roformermil.config import Unit
from roformermil.config.base import Settings, read_settings
from roformermil.errors import BagError
from roformermil.runtime.text import join_some, plural

if TYPE_CHECKING:  # packaging needs codings alone, in an environment without torch (envs/report.yaml)
    from torch import Tensor

    from roformermil.bags.dataset import BagDataset

log = logging.getLogger(__name__)


class NumberColumn(Settings):
    """A covariate that is a number: (value - mean) / std, 0 where it is missing."""

    name: str
    mean: float
    std: float
    """Of the training bags; 1 where all have the same value."""
    flags_missing: bool
    """Whether a second value is 1 where the number is missing, as it is for a training bag; else 0."""

    @property
    def entries(self) -> list[str]:
        """Names of its values in the vector."""
        return [self.name, *([f"{self.name} is missing"] if self.flags_missing else [])]

    def encode(self, cell: str) -> list[float]:
        """Raises ValueError for text that is no number."""
        value = (float(cell) - self.mean) / self.std if cell else 0.0
        return [value, *([float(not cell)] if self.flags_missing else [])]

    def gap(self, cells: Sequence[str]) -> str:
        """How often the value is missing, and what is done, in words; "" where it never is."""
        missing = sum(not cell for cell in cells)
        return f"{missing} without {self.name}: taken as the training mean, {self.mean:.3g}" if missing else ""


class CategoryColumn(Settings):
    """A covariate that is a category: a value for each category of the training bags, of which one is 1; none where it is missing or
    is none of these."""

    name: str
    values: list[str]

    @property
    def entries(self) -> list[str]:
        """Names of its values in the vector."""
        return [f"{self.name} is {value}" for value in self.values]

    def encode(self, cell: str) -> list[float]:
        return [float(cell == value) for value in self.values]

    def gap(self, cells: Sequence[str]) -> str:
        """How often the category is missing or new, in words; "" where it never is."""
        unknown = [cell for cell in cells if cell not in self.values]
        new = sorted({cell for cell in unknown if cell})
        others = f" or with one that no training slide has ({join_some(new)})" if new else ""
        return f"{len(unknown)} without {self.name}{others}: no category counts" if unknown else ""


class CovariateCoding(Settings):
    """How covariates become a vector of k values."""

    columns: list[NumberColumn | CategoryColumn]

    @property
    def names(self) -> list[str]:
        """The covariates."""
        return [column.name for column in self.columns]

    @property
    def entries(self) -> list[str]:
        """What each of the k values is."""
        return [entry for column in self.columns for entry in column.entries]

    def encode(self, bags: Mapping[str, Cells]) -> "Tensor":
        """The vectors (B, k) float32 of bags by name. Raises BagError, which names the bags, as `check` does."""
        import torch

        self.check(bags)
        rows = [[x for column in self.columns for x in column.encode(cells[column.name])] for cells in bags.values()]
        return torch.tensor(rows, dtype=torch.float32).reshape(len(bags), len(self.entries))

    def check(self, bags: Mapping[str, Cells]) -> None:
        """Raises BagError for a covariate that is not given, and for text where the training slides have numbers."""
        if absent := sorted({name for cells in bags.values() for name in self.names if name not in cells}):
            raise BagError(f"the model needs the {_covariates(absent)}: give {'it' if len(absent) == 1 else 'them'}")
        check_numbers(bags, [column.name for column in self.columns if isinstance(column, NumberColumn)])

    def gaps(self, bags: Iterable[Cells]) -> list[str]:
        """What is missing in bags and what is done about it, a line per covariate."""
        rows = list(bags)
        return [gap for column in self.columns if (gap := column.gap([cells[column.name] for cells in rows]))]


def fit_coding(names: Sequence[str], training: Sequence[Cells], numbers: Iterable[str]) -> CovariateCoding:
    """The coding of these covariates, from the training bags. numbers: those that are numbers, of `number_columns`."""
    columns: list[NumberColumn | CategoryColumn] = []
    for name in names:
        cells = [bag[name] for bag in training]
        filled = [cell for cell in cells if cell]
        if name in set(numbers):
            values = np.array([float(cell) for cell in filled] or [0.0])
            std = float(values.std()) if np.ptp(values) > 0 else 1.0  # equal values have a tiny one from rounding
            columns.append(
                NumberColumn(name=name, mean=float(values.mean()), std=std, flags_missing=len(filled) < len(cells))
            )
        else:
            columns.append(CategoryColumn(name=name, values=sorted(set(filled))))
    coding = CovariateCoding(columns=columns)
    if not coding.entries:
        raise BagError(
            f"the {_covariates(names)} {'is' if len(names) == 1 else 'are'} empty for all training slides: leave it out"
        )
    return coding


def covariate_coding(metadata: Mapping[str, str], where: str = "model") -> CovariateCoding | None:
    """How a model's covariates become a vector, from its file's metadata; None for a model without."""
    text = metadata.get("covariates")
    return read_settings(CovariateCoding, text, where) if text else None


def add_covariates(data: "BagDataset", training: Sequence[int], path: Path, unit: Unit) -> CovariateCoding:
    """Give each bag of the data set its covariates; returns their coding, fitted on the bags `training`.

    path: covariates.csv. What is missing is logged. Raises BagError as `covariates_of_bags` does.
    """
    table = read_covariate_table(path)
    names = list(next(iter(table.values())))
    bags = covariates_of_bags(data.rows, table, unit)
    cells = list(bags.values())
    coding = fit_coding(names, [cells[k] for k in training], number_columns(table.values(), names))
    for gap in coding.gaps(cells):  # `check` tells it once for all folds
        log.info("of %s, %s", plural(len(cells), unit), gap)
    data.covariates = coding.encode(bags)
    return coding


def _covariates(names: Sequence[str]) -> str:
    return f"{'covariate' if len(names) == 1 else 'covariates'} {', '.join(names)}"
