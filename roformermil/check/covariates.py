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
from roformermil.runtime.text import plural
from roformermil.tasks import Task, task_of


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
    for covariate in config.covariates:
        if missing := sum(not cells[covariate] for cells in table.values()):
            yield Problem(
                "info", f"covariate {covariate} is missing for {missing} of {plural(len(table), 'slide')}", name
            )
        if decides_label(covariate, slides, table, task_of(config, name)):
            question = "is it the label under another name? Models would then learn nothing else"
            yield Problem("warning", f"covariate {covariate} decides the label of every slide: {question}", name)


def decides_label(covariate: str, slides: Sequence[Slide], table: Mapping[str, Cells], task: Task) -> bool:
    """Whether the covariate is the label, or all slides with one value of it are in one stratum, such as a class or the group with
    an event, with several slides to most values."""
    slides = [one for one in slides if one.label and table[one.slide_id][covariate]]
    cells, labels = [table[one.slide_id][covariate] for one in slides], [one.label for one in slides]
    if len(set(labels)) > 1 and all(is_number(cell) for cell in cells) and not task.classes:
        numbers = task.targets(labels).reshape(len(labels), -1)[:, 0]  # of survival, the time
        if np.array_equal(numbers, np.array(cells, float)):
            return True
    strata = defaultdict(set)
    for cell, stratum in zip(cells, task.strata(labels), strict=True):
        strata[cell].add(stratum)
    several = len(set().union(*strata.values())) > 1 and 2 * len(strata) < len(slides)
    return several and all(len(found) == 1 for found in strata.values())
