"""The covariates of a packaged model: what it was trained with, and those of the slides that it predicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from roformermil.bags.covariate_table import merge_covariates
from roformermil.bags.covariates import CategoryColumn, CovariateCoding
from roformermil.cohort.covariates import Cells, read_covariates
from roformermil.config.base import Settings
from roformermil.errors import ConfigError
from roformermil.runtime.text import join_some, plural

SHEET = ".csv"


class PackagedCovariate(Settings):
    """A covariate of a model: a number, or one of several categories."""

    name: str
    mean: float | None = None
    """Of a number: the mean over members of those of their training slides, and of the standard deviations."""
    std: float | None = None
    values: list[str] | None = None
    """Of a category: those that occurred in the training of any member."""

    def describe(self) -> str:
        """What the column of a slide sheet has, in words."""
        if self.values is None:
            return f"`{self.name}`, a number ({self.mean:.3g} ± {self.std:.2g} in training)"
        return f"`{self.name}`, one of {', '.join(self.values)}"

    def warning(self, cell: str) -> str:
        """What is done about a missing value or a new category; "" for any other."""
        if self.values is None:
            return "" if cell else f"no {self.name} is given: taken as the training mean, {self.mean:.3g}"
        if cell in self.values:
            return ""
        return (
            f"{f'{self.name} {cell!r} was not in training' if cell else f'no {self.name} is given'}: no category counts"
        )


def describe_covariates(codings: Sequence[CovariateCoding]) -> list[PackagedCovariate]:
    """The covariates of a model, from the coding of each member; none for a model without."""
    described = []
    for columns in zip(*(coding.columns for coding in codings), strict=True):
        if isinstance(columns[0], CategoryColumn):
            values = sorted({value for column in columns for value in column.values})
            described.append(PackagedCovariate(name=columns[0].name, values=values))
        else:
            mean, std = (float(np.mean([getattr(column, key) for column in columns])) for key in ("mean", "std"))
            described.append(PackagedCovariate(name=columns[0].name, mean=mean, std=std))
    return described


def read_slide_covariates(
    paths: Sequence[Path], slides: Sequence[str], covariates: Sequence[PackagedCovariate]
) -> dict[str, dict[str, str]]:
    """The covariates of slides by name, from the slide sheets among `paths`; empty for a model without covariates.

    Raises SheetError for a sheet that lacks a column, and ConfigError for slides that no sheet names.
    """
    if not covariates:
        return {}
    names, table = [one.name for one in covariates], dict[str, dict[str, str]]()
    for sheet in (path for path in paths if path.suffix.lower() == SHEET):
        table |= read_covariates(sheet, names)
    if absent := [name for name in slides if name not in table]:
        needed = f"the model uses the covariates {', '.join(names)}"
        remedy = "give a slide sheet (.csv) with slide_id, path and these columns; leave a cell empty where a value is unknown"
        raise ConfigError(f"{needed}, which {plural(len(absent), 'slide')} lack ({join_some(absent)}): {remedy}")
    return {name: table[name] for name in slides}


def covariates_by_slide(
    bags: Sequence[Sequence[str]], patients: Mapping[str, str], table: Mapping[str, Cells]
) -> dict[str, dict[str, str]]:
    """The covariates of each slide's bag. bags: slides of each; patients: patient_id by slide; table: of slides that are predicted.

    Raises BagError for a patient whose slides differ.
    """
    known = [[name for name in bag if name in table] for bag in bags]
    by_bag = {(patients.get(bag[0], bag[0]) if len(bag) > 1 else bag[0]): bag for bag in known if bag}
    return {name: cells for bag, cells in merge_covariates(by_bag, table).items() for name in by_bag[bag]}
