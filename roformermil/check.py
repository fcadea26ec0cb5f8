"""The checks of `roformermil check`, made before hours of computing: one function per check, each returns problems."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Literal

from roformermil.bags.folds import assign_folds, check_enough
from roformermil.bags.leakage import find_leaks, leak_message
from roformermil.cohort import slide_table
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_sheet import Slide, read_slide_sheet, sheet_warnings
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Config
from roformermil.config.encoder_specs import encoder_spec
from roformermil.errors import RoFormerMILError
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.studies.variants import list_variants


@dataclass(frozen=True)
class Problem:
    """A sentence about the configuration or a data set. Only an `error` prevents a run."""

    level: Literal["error", "warning", "info"]
    message: str
    dataset: str = ""

    def __str__(self) -> str:
        return f"{self.dataset}: {self.message}" if self.dataset else self.message


def check_config(config: Config, progress: bool = True) -> list[Problem]:
    """All problems that can be detected without running the workflow. Opens every slide file."""
    problems = [*_raised("", list_variants, config), *check_software(config), *check_weights(config)]
    for name in config.datasets:
        problems += check_dataset(config, name, progress)
    return problems


def check_plan(config: Config, read_sheet: Callable[[str], list[Slide]]) -> Iterator[Problem]:
    """Problems that can be detected while Snakemake plans, without opening a slide.

    read_sheet: returns the slides of a data set's slide sheet, given the data set's name.
    """
    for name, dataset in config.datasets.items():
        usable = [slide for slide in read_sheet(name) if not slide.exclude]
        table = config.results / name / "slides.csv"
        if table.exists():  # from an earlier run, perhaps with a higher limit
            records = slide_table.read_slide_table(table)
            yield from _raised(name, slide_table.check_failed_fraction, records, config.max_failed_fraction, table)
        if not config.folds.path:  # slides can be segmented and encoded all the same
            for problem in _raised(name, check_enough, usable, config.folds, dataset.classes):
                yield replace(problem, level="warning", message=f"training will not be possible: {problem.message}")


def check_software(config: Config) -> Iterator[Problem]:
    """Whether the optional packages that the settings need are installed."""
    needed = []
    if config.tissue.needs_tiatoolbox:
        needed.append((f"tissue.method {config.tissue.method}", "tiatoolbox"))
    if encoder_spec(config.encoder.name).architecture:
        needed.append((f"encoder {config.encoder.name}", "timm"))
    for user, package in needed:
        if not find_spec(package):
            yield Problem("warning", f"{user} needs {package}, which is not installed here: `make tiatoolbox`")


def check_weights(config: Config) -> Iterator[Problem]:
    """Whether the files of weights exist."""
    for key, path in (("encoder.weights", config.encoder.weights_path), ("tissue.weights", config.tissue.weights)):
        if path and not path.is_file():
            yield Problem("error", f"{key}: no file at {path.absolute()}")


def check_dataset(config: Config, name: str, progress: bool = True) -> Iterator[Problem]:
    """A data set's slide sheet, slide files, folds and leaks, until the first error."""
    dataset = config.datasets[name]
    try:
        here = not dataset.source  # others may still have to be downloaded
        listed = read_slide_sheet(dataset.slides, dataset.root, dataset.classes, dataset.allow_absolute, here)
        slides = [slide for slide in listed if not slide.exclude]
        if absent := sum(not slide.path.exists() for slide in slides):
            remedy = "run `snakemake download`, then check again"
            yield Problem("warning", f"{absent} of {len(slides)} slides are not downloaded yet: {remedy}", name)
            return
        records = open_slides(config, slides, progress)
        usable = [slide for slide, record in zip(slides, records, strict=True) if record.is_ok]
        patients = len({slide.patient_id for slide in usable})
        yield Problem("info", f"{slide_table.attrition_summary(records)}; {patients} patients in use", name)
        yield from (Problem("warning", line, name) for line in sheet_warnings(usable))
        yield from check_losses(config, name, records)
        yield from check_leaks(config, name, usable, records)
    except RoFormerMILError as error:
        yield Problem("error", str(error), name)


def open_slides(config: Config, slides: Sequence[Slide], progress: bool = True) -> list[SlideRecord]:
    """Records of the slides, with a failed status where a file does not open or does not state its resolution.

    Raises ConfigError for tissue settings in the slide sheet that cannot be used.
    """
    from roformermil.features.hdf5 import inspect_features  # image libraries, which check_plan does not need
    from roformermil.slides.steps import inspect_slide, tissue_settings

    records = slide_table.records_from_sheet(slides)
    for record in records:
        tissue_settings(record, config.tissue)
    inspect = inspect_features if config.encoder.is_imported else inspect_slide
    work = partial(run_in_subprocess, inspect, timeout=config.slide_timeout)
    return slide_table.run_stage("check", records, work, progress=progress)


def check_losses(config: Config, name: str, records: Sequence[SlideRecord]) -> Iterator[Problem]:
    """Whether more slides are lost than allowed."""
    lost, allowed = sum(record.is_lost for record in records), config.max_failed_fraction
    if lost > allowed * len(records):
        share = f"{lost / len(records):.0%}"
        yield Problem("error", f"{share} of its slides are lost, max_failed_fraction allows {allowed:.0%}", name)


def check_leaks(config: Config, name: str, usable: list[Slide], records: list[SlideRecord]) -> Iterator[Problem]:
    """Whether folds can be made, and whether they leak."""
    folds = assign_folds(name, usable, config.folds, config.datasets[name].classes)
    identified = [replace(record, content=content_id(record.path)) for record in records if record.is_ok]
    if message := leak_message(find_leaks(folds, usable, identified), config.leakage, config.folds):
        yield Problem("error", message, name)


def _raised(name: str, check: Callable[..., object], *arguments: object) -> Iterator[Problem]:
    """The error that `check` raises, as a problem of the data set `name`."""
    try:
        check(*arguments)
    except RoFormerMILError as error:
        yield Problem("error", str(error), name)
