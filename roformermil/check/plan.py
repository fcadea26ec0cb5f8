"""The checks that Snakemake makes while it plans. Importing this imports neither pandas nor image libraries."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from roformermil.bags.folds import check_enough
from roformermil.check.covariates import check_sheet_covariates
from roformermil.check.external import check_external
from roformermil.check.needs import check_files
from roformermil.check.problems import Problem, raised
from roformermil.cohort import slide_table
from roformermil.cohort.slide_sheet import Slide, sheet_warnings
from roformermil.config import Config
from roformermil.errors import RoFormerMILError
from roformermil.tasks import task_of


def check_plan(config: Config, read_sheet: Callable[[str], list[Slide]]) -> Iterator[Problem]:
    """Problems that can be detected while Snakemake plans, without opening a slide.

    read_sheet: returns the slides of a data set's slide sheet, given the data set's name, or raises SheetError.
    """
    yield from check_files(config)
    sheets: dict[str, list[Slide]] = {}
    for name, dataset in config.datasets.items():
        try:
            usable = [slide for slide in read_sheet(name) if not slide.exclude]
        except RoFormerMILError as error:
            yield Problem("error", str(error), name)
            continue
        sheets[name] = usable
        yield from (Problem("warning", line, name) for line in sheet_warnings(usable))
        yield from check_sheet_covariates(config, name, usable)
        table = config.results / name / "slides.csv"
        if table.exists():  # from an earlier run, perhaps with a higher limit
            records = slide_table.read_slide_table(table)
            yield from raised(name, slide_table.check_failed_fraction, records, config.max_failed_fraction, table)
        if not (config.folds.path or dataset.validates):  # slides can be segmented and encoded all the same
            for problem in raised(name, check_enough, usable, config.folds, task_of(config, name)):
                yield replace(problem, level="warning", message=f"training will not be possible: {problem.message}")
    for name, trained in config.external_datasets.items():
        if name in sheets and trained in sheets:
            yield from check_external(config, name, sheets[name], sheets[trained])
