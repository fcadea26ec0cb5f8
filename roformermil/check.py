"""What `roformermil check` finds in a configuration before hours are spent on it: one function a check, a list of problems."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Literal

from roformermil.bags.folds import assign_folds, check_enough
from roformermil.bags.leakage import find_leaks, leak_message
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_sheet import Slide, read_slide_sheet, sheet_warnings
from roformermil.cohort.slide_table import (
    SlideRecord,
    attrition_summary,
    check_failed_fraction,
    read_slide_table,
    records_from_sheet,
    run_stage,
)
from roformermil.config import Config
from roformermil.config.encoder_specs import encoder_spec
from roformermil.errors import RoFormerMILError
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.studies.variants import list_variants


@dataclass(frozen=True)
class Problem:
    """A sentence about the configuration or a data set; `info` is none, but worth knowing."""

    level: Literal["error", "warning", "info"]
    message: str
    dataset: str = ""

    @property
    def is_error(self) -> bool:
        return self.level == "error"

    def __str__(self) -> str:
        return f"{self.dataset}: {self.message}" if self.dataset else self.message


def check_config(config: Config, progress: bool = True) -> list[Problem]:
    """Everything that can be found out without running the workflow. Every slide file is opened."""
    problems = [*check_variants(config), *check_software(config), *check_weights(config)]
    for name in config.datasets:
        problems += check_dataset(config, name, progress)
    return problems


def check_plan(config: Config, sheet: Callable[[str], list[Slide]]) -> Iterator[Problem]:
    """What can be found out while Snakemake plans, without opening a slide. sheet: a data set's slides by its name."""
    for name, dataset in config.datasets.items():
        usable = [slide for slide in sheet(name) if not slide.exclude]
        table = config.results / name / "slides.csv"
        if table.exists():  # from an earlier run, perhaps with a higher limit
            yield from _raised(name, check_failed_fraction, read_slide_table(table), config.max_failed_fraction, table)
        if not config.folds.path:  # slides can be segmented and encoded all the same
            for problem in _raised(name, check_enough, usable, config.folds, dataset.classes):
                yield replace(problem, level="warning", message=f"training will not be possible: {problem.message}")


def check_variants(config: Config) -> Iterator[Problem]:
    """Whether the ablation's variants have distinct names."""
    yield from _raised("", list_variants, config)


def check_software(config: Config) -> Iterator[Problem]:
    """Whether optional packages that the settings need are installed here."""
    if config.tissue.needs_tiatoolbox and not find_spec("tiatoolbox"):
        yield Problem(
            "warning",
            f"tissue.method {config.tissue.method} needs tiatoolbox, which is not installed here: `make tiatoolbox`",
        )
    if encoder_spec(config.encoder.name).architecture and not find_spec("timm"):
        yield Problem(
            "warning", f"encoder {config.encoder.name} needs timm, which is not installed here: `make tiatoolbox`"
        )


def check_weights(config: Config) -> Iterator[Problem]:
    """Whether files of weights exist."""
    for key, path in (("encoder.weights", config.encoder.weights_path), ("tissue.weights", config.tissue.weights)):
        if path and not path.is_file():
            yield Problem("error", f"{key}: no file at {path.absolute()}")


def check_dataset(config: Config, name: str, progress: bool = True) -> Iterator[Problem]:
    """A data set's sheet, files, folds and leaks; the first error ends it."""
    dataset = config.datasets[name]
    try:
        sheet = read_slide_sheet(
            dataset.slides, dataset.root, dataset.classes, dataset.allow_absolute, check_files=not dataset.source
        )
        slides = [slide for slide in sheet if not slide.exclude]
        absent = sum(not slide.path.exists() for slide in slides)
        if absent:  # only where slides are still to be downloaded
            yield Problem("warning", f"{absent} of {len(slides)} slides are not here yet: snakemake download", name)
            return
        records = open_slides(config, slides, progress)
        usable = [slide for slide, record in zip(slides, records, strict=True) if record.is_ok]
        patients = len({slide.patient_id for slide in usable})
        yield Problem("info", f"{attrition_summary(records)}; {patients} patients in use", name)
        yield from (Problem("warning", line, name) for line in sheet_warnings(usable))
        yield from check_losses(config, name, records)
        yield from check_leaks(config, name, usable, records)
    except RoFormerMILError as error:
        yield Problem("error", str(error), name)


def open_slides(config: Config, slides: Sequence[Slide], progress: bool = True) -> list[SlideRecord]:
    """Records of the slides, failed where a file does not open or has no scale. Raises ConfigError for tissue settings."""
    from roformermil.features.hdf5 import inspect_features  # image libraries, which planning a run does not need
    from roformermil.slides.steps import inspect_slide, tissue_settings

    records = records_from_sheet(slides)
    for record in records:
        tissue_settings(record, config.tissue)
    inspect = inspect_features if config.encoder.is_imported else inspect_slide
    work = partial(run_in_subprocess, inspect, timeout=config.slide_timeout)
    return run_stage("check", records, work, progress=progress)


def check_losses(config: Config, name: str, records: Sequence[SlideRecord]) -> Iterator[Problem]:
    """Whether more slides are lost than allowed."""
    lost, allowed = sum(record.is_lost for record in records), config.max_failed_fraction
    if lost > allowed * len(records):
        yield Problem(
            "error", f"{lost / len(records):.0%} of its slides are lost, max_failed_fraction allows {allowed:.0%}", name
        )


def check_leaks(
    config: Config, name: str, usable: Sequence[Slide], records: Iterable[SlideRecord]
) -> Iterator[Problem]:
    """Whether folds can be made, and whether they leak."""
    folds = assign_folds(name, list(usable), config.folds, config.datasets[name].classes)
    identified = [replace(record, content=content_id(record.path)) for record in records if record.is_ok]
    if message := leak_message(find_leaks(folds, list(usable), identified), config.leakage, config.folds):
        yield Problem("error", message, name)


def _raised(name: str, check: Callable[..., object], *arguments: object) -> Iterator[Problem]:
    """The error that `check` raises, as a problem."""
    try:
        check(*arguments)
    except RoFormerMILError as error:
        yield Problem("error", str(error), name)
