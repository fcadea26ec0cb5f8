"""The checks of covariates in a data set's slide sheet."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from roformermil.bags.covariate_table import check_covariates
from roformermil.check.problems import Problem
from roformermil.cohort.covariates import Cells, read_covariates
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Config
from roformermil.errors import RoFormerMILError
from roformermil.runtime.text import plural


def check_sheet_covariates(config: Config, name: str, slides: Sequence[Slide]) -> Iterator[Problem]:
    """What is wrong with the covariates of a data set, how many are missing, and which may be the label itself. slides: in use."""
    if not config.covariates:
        return
    try:
        table = read_covariates(config.datasets[name].slides, config.covariates, [one.slide_id for one in slides])
        check_covariates(slides, table, config.unit)
    except RoFormerMILError as error:
        yield Problem("error", str(error), name)
        return
    for covariate in config.covariates:
        if missing := sum(not cells[covariate] for cells in table.values()):
            yield Problem(
                "info", f"covariate {covariate} is missing for {missing} of {plural(len(table), 'slide')}", name
            )
        if decides_label(covariate, slides, table):
            question = "is it the label under another name? Models would then learn nothing else"
            yield Problem("warning", f"covariate {covariate} decides the label of every slide: {question}", name)


def decides_label(covariate: str, slides: Sequence[Slide], table: Mapping[str, Cells]) -> bool:
    """Whether all slides with one value of the covariate have one label, with several slides to most values."""
    labels, slides = defaultdict(set), [one for one in slides if one.label and table[one.slide_id][covariate]]
    for slide in slides:
        labels[table[slide.slide_id][covariate]].add(slide.label)
    several = len({slide.label for slide in slides}) > 1 and 2 * len(labels) < len(slides)
    return several and all(len(found) == 1 for found in labels.values())
