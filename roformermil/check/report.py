"""All that `roformermil check` finds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roformermil.check.dataset import check_dataset
from roformermil.check.estimate import Estimate, check_disk, estimate_run
from roformermil.check.external import check_external
from roformermil.check.needs import check_files, check_software, check_weights
from roformermil.check.problems import Problem, list_problems, locate, raised
from roformermil.check.slides_table import SlideRow, slide_rows
from roformermil.cohort.slide_sheet import SHOWN_MISTAKES, parse_slide_sheet
from roformermil.config import Config, load_config
from roformermil.config.base import parse_yaml
from roformermil.errors import ConfigError, SheetError
from roformermil.studies.search_space import list_searches
from roformermil.studies.variants import list_variants
from roformermil.tasks import TASKS, Classification, make_task


@dataclass(frozen=True)
class CheckReport:
    """What was found, for printing."""

    problems: list[Problem]
    slides: dict[str, list[SlideRow]] = field(default_factory=dict)  # by data set
    estimate: Estimate | None = None
    trains: bool = True  # whether a data set can be trained on

    def count(self, level: str) -> int:
        """How many problems of a level there are."""
        return sum(problem.count for problem in self.problems if problem.level == level)


def check_file(path: Path, progress: bool = True, measure: bool = True) -> CheckReport:
    """All mistakes of a configuration file and its slide sheets and, where the configuration has none, of everything else."""
    try:
        config = load_config(path)
    except ConfigError as error:
        problems = [Problem("error", line) for line in str(error).splitlines()]
        return CheckReport(problems + _check_sheets(path))
    return check_config(config, progress, measure)


def check_config(config: Config, progress: bool = True, measure: bool = False) -> CheckReport:
    """All that can be found without running the workflow. Finds the tissue of every slide.

    measure: whether to estimate hours and disk too, by speeds of this machine.
    """
    problems = [*raised("", list_variants, config), *raised("", list_searches, config), *check_software(config)]
    problems += [*check_files(config), *check_weights(config)]
    datasets = {name: check_dataset(config, name, progress) for name in config.datasets}
    estimate = estimate_run(config, list(datasets.values()), measure)
    if estimate:
        problems += check_disk(config, estimate)
    problems += [problem for dataset in datasets.values() for problem in dataset.problems]
    for name, trained in config.external_datasets.items():
        problems += check_external(config, name, *(datasets[one].sheet for one in (name, trained)))
    rows = {name: slide_rows(name, dataset.slides) for name, dataset in datasets.items()}
    return CheckReport(problems, rows, estimate, any(dataset.is_labelled for dataset in datasets.values()))


def _check_sheets(path: Path) -> list[Problem]:
    """The mistakes of the slide sheets that a configuration with mistakes names all the same."""
    try:
        given = parse_yaml(path.read_text(encoding="utf-8"), "")
        datasets, task = given["datasets"].items(), given.get("task", Classification.name)
    except (ConfigError, OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    problems = []
    for name, of_dataset in datasets:
        problems += _check_sheet(str(name), of_dataset, task)
    return [*problems, Problem("info", "slides are opened once the configuration is corrected")]


def _check_sheet(name: str, given: Any, task: Any) -> list[Problem]:
    """The mistakes of the slide sheet of a data set, as the configuration has it."""
    if not isinstance(given, dict) or not all(isinstance(given.get(key), str) for key in ("slides", "root")):
        return []
    sheet, root = (Path(given[key]).expanduser() for key in ("slides", "root"))
    classes = given.get("classes")
    known = [text for text in classes if isinstance(text, str)] if isinstance(classes, list) else []
    try:
        complete = (
            make_task(task, known) if task in TASKS and (known == classes or task != Classification.name) else None
        )
        _, lines = parse_slide_sheet(sheet, root, complete, given.get("allow_absolute") is True, "source" not in given)
    except SheetError as error:
        lines = str(error).splitlines()
    place = f"slide sheet {locate(sheet)}; its paths are relative to the root {locate(root)}"
    return [Problem("info", place, name), *list_problems("error", lines, name, SHOWN_MISTAKES)]
