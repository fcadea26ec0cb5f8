"""The checks of covariates in a data set's slide sheet."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from roformermil.bags.covariate_table import check_covariates, check_filled
from roformermil.check.problems import Problem
from roformermil.cohort.covariates import Cells, is_number, read_covariates
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Config
from roformermil.errors import RoFormerMILError
from roformermil.runtime.text import join_some, plural
from roformermil.tasks import Task, task_of

NUMBERS, MOST_CODES = (
    0.8,
    10,
)  # a column with this share of numbers is one of numbers, unless they are so few different ones


def check_sheet_covariates(config: Config, name: str, slides: Sequence[Slide]) -> Iterator[Problem]:
    """What is wrong with the covariates of a data set, how many are missing, and which may be the label itself. slides: in use."""
    if not config.covariates:
        return
    try:
        table = read_covariates(config.datasets[name].slides, config.covariates, [one.slide_id for one in slides])
        check_covariates(slides, table, config.unit)
        if name not in config.external_datasets:
            check_filled(table)
    except RoFormerMILError as error:
        yield Problem("error", str(error), name)
        return
    is_external = name in config.external_datasets
    for covariate in config.covariates:
        yield Problem("info", describe_covariate(covariate, table), name)
        if not is_external and (odd := odd_cells(covariate, table)):
            rest = "with text in one cell every number would be a category of its own"
            yield Problem(
                "error",
                f"covariate {covariate} is a number but for {join_some(odd)}: correct or empty these cells, since {rest}",
                name,
            )
        if not is_external and decides_label(covariate, slides, table, task_of(config, name)):
            question = "is it the label under another name? Models would then learn nothing else"
            yield Problem("warning", f"covariate {covariate} decides the label of every slide: {question}", name)


def describe_covariate(covariate: str, table: Mapping[str, Cells]) -> str:
    """What a covariate is taken for, and how often it is missing. table: cells by slide."""
    cells = [of_slide[covariate] for of_slide in table.values()]
    filled = [cell for cell in cells if cell]
    what = f"categories {join_some(sorted(set(filled)))}"
    if filled and all(is_number(cell) for cell in filled):
        numbers = [float(cell) for cell in filled]
        what = f"a number, {min(numbers):g} to {max(numbers):g}"
    missing = f"missing for {len(cells) - len(filled)} of {plural(len(cells), 'slide')}"
    return f"covariate {covariate}: {f'{what}; {missing}' if filled else missing}"


def odd_cells(covariate: str, table: Mapping[str, Cells]) -> list[str]:
    """The slides whose cell is text in a column of numbers, with the text: of many different numbers, and few texts."""
    filled = {name: cells[covariate] for name, cells in table.items() if cells[covariate]}
    text = {name: cell for name, cell in filled.items() if not is_number(cell)}
    numbers = {cell for cell in filled.values() if is_number(cell)}
    few = 0 < len(text) <= (1 - NUMBERS) * len(filled) and len(numbers) > MOST_CODES
    return [f"{name} ({cell!r})" for name, cell in text.items()] if few else []


def decides_label(covariate: str, slides: Sequence[Slide], table: Mapping[str, Cells], task: Task) -> bool:
    """Whether the covariate is the label, or all slides with one value of it are in one stratum, such as a class or the group with
    an event, with several patients to most values."""
    slides = [one for one in slides if one.label and table[one.slide_id][covariate]]
    patients = len({one.patient_id for one in slides})  # whose slides usually have the same value
    cells, labels = [table[one.slide_id][covariate] for one in slides], [one.label for one in slides]
    if len(set(labels)) > 1 and all(is_number(cell) for cell in cells) and not task.classes:
        numbers = task.targets(labels).reshape(len(labels), -1)[:, 0]  # of survival, the time
        if np.array_equal(numbers, np.array(cells, float)):
            return True
    strata = defaultdict(set)
    for cell, stratum in zip(cells, task.strata(labels), strict=True):
        strata[cell].add(stratum)
    several = len(set().union(*strata.values())) > 1 and 2 * len(strata) < patients
    return several and all(len(found) == 1 for found in strata.values())
