"""The checks of `roformermil check`, made before hours of computing: one function per check, each returns problems."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from roformermil.bags.folds import assign_folds, check_enough, given_folds
from roformermil.bags.leakage import find_leaks, leak_message
from roformermil.cohort import slide_table
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_messages import group_lost, group_warnings
from roformermil.cohort.slide_sheet import SHOWN_MISTAKES, Slide, parse_slide_sheet, sheet_warnings
from roformermil.cohort.slide_table import LOST_REMEDY, SHOWN_SLIDES, SlideRecord
from roformermil.config import Config
from roformermil.config.encoder_specs import encoder_spec
from roformermil.errors import RoFormerMILError, SheetError
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.runtime.text import choose_lines, plural
from roformermil.studies.variants import list_variants

Level = Literal["error", "warning", "info"]
REQUEST_SECONDS = 5.0  # for a server to answer


@dataclass(frozen=True)
class Problem:
    """A sentence about the configuration or a data set. Only an `error` prevents a run."""

    level: Level
    message: str
    dataset: str = ""
    count: int = 1  # of problems that the sentence is about

    def __str__(self) -> str:
        return f"{self.dataset}: {self.message}" if self.dataset else self.message


def check_config(config: Config, progress: bool = True) -> list[Problem]:
    """All problems that can be detected without running the workflow. Finds the tissue of every slide."""
    problems = [*_raised("", list_variants, config), *check_software(config)]
    problems += [*check_files(config), *check_weights(config)]
    for name in config.datasets:
        problems += check_dataset(config, name, progress)
    return problems


def check_plan(config: Config, read_sheet: Callable[[str], list[Slide]]) -> Iterator[Problem]:
    """Problems that can be detected while Snakemake plans, without opening a slide.

    read_sheet: returns the slides of a data set's slide sheet, given the data set's name, or raises SheetError.
    """
    yield from check_files(config)
    for name, dataset in config.datasets.items():
        try:
            usable = [slide for slide in read_sheet(name) if not slide.exclude]
        except RoFormerMILError as error:
            yield Problem("error", str(error), name)
            continue
        yield from (Problem("warning", line, name) for line in sheet_warnings(usable))
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


def check_files(config: Config) -> Iterator[Problem]:
    """Whether the files that the configuration names exist: weights and given folds."""
    files = [("encoder.weights", config.encoder.weights_path), ("tissue.weights", config.tissue.weights)]
    files += [("folds.path", given_folds(name, config.folds)) for name in config.datasets]
    for key, path in dict.fromkeys(files):
        if path and not path.is_file():
            yield Problem("error", f"{key}: no file at {path.absolute()}")


def check_weights(config: Config) -> Iterator[Problem]:
    """Whether the encoder's weights can be loaded or downloaded."""
    if config.encoder.weights in (None, "random", "hub"):
        return
    from roformermil.features.encoders import load_trunk  # torch
    from roformermil.features.weights import imagenet_file

    if not (config.encoder.weights_path or imagenet_file()).is_file():
        if config.encoder.weights == "imagenet":
            yield from _check_download(imagenet_file())
    elif not encoder_spec(config.encoder.name).architecture or find_spec("timm"):
        yield from _raised("", load_trunk, config.encoder)


def _check_download(target: Path) -> Iterator[Problem]:
    """Whether the published weights, which are not at `target` yet, can be downloaded."""
    import requests

    from roformermil.features.weights import IMAGENET_URL

    try:
        requests.head(IMAGENET_URL, timeout=REQUEST_SECONDS, allow_redirects=True).raise_for_status()
    except requests.RequestException as error:
        problem = f"imagenet is not downloaded yet, and {IMAGENET_URL} cannot be reached ({type(error).__name__})"
        remedy = f"put that file at {target}, or set encoder.weights to its path"
        yield Problem("error", f"encoder.weights: {problem}: {remedy}")


def check_dataset(config: Config, name: str, progress: bool = True) -> Iterator[Problem]:
    """A data set's slide sheet and, for its rows without mistakes, slide files, folds and leaks."""
    dataset = config.datasets[name]
    here = not dataset.source  # others may still have to be downloaded
    try:
        slides, mistakes = parse_slide_sheet(
            dataset.slides, dataset.root, dataset.classes, dataset.allow_absolute, here
        )
    except SheetError as error:
        yield from _list("error", str(error).splitlines(), name, SHOWN_MISTAKES)
        return
    yield from _list("error", mistakes, name, SHOWN_MISTAKES)
    records = slide_table.records_from_sheet(slides)
    absent = {record.slide_id for record in records if record.is_ok and not record.path.exists()}
    if absent and dataset.source:
        remedy = "run `snakemake download`, then check again"
        yield Problem("warning", f"{len(absent)} of {len(slides)} slides are not downloaded yet: {remedy}", name)
    wrong = _settings_mistakes(config, records)
    yield from _list("error", [line for lines in wrong.values() for line in lines], name, SHOWN_MISTAKES)
    records = open_slides(config, [r for r in records if r.slide_id not in absent.union(wrong)], progress)
    ok = {record.slide_id for record in records if record.is_ok}
    usable, expected = ([slide for slide in slides if slide.slide_id in ids] for ids in (ok, ok | absent))
    summary = f"{slide_table.attrition_summary(records)}; {_patients(usable, dataset.classes)}"
    yield Problem("info", f"without the rows above: {summary}" if mistakes or wrong else summary, name)
    yield from _list("warning", group_lost(records), name, SHOWN_SLIDES)
    yield from _list("warning", group_warnings(records), name, SHOWN_SLIDES)
    yield from (Problem("warning", line, name) for line in sheet_warnings(expected))
    yield from check_losses(config, name, records)
    yield from _list("error", slide_table.mixed_widths(records).splitlines(), name, SHOWN_SLIDES)
    yield from _list("warning", slide_table.mixed_extractors(records).splitlines(), name, SHOWN_SLIDES)
    try:
        if absent:
            check_enough(expected, config.folds, dataset.classes)
        elif usable:
            yield from check_leaks(config, name, usable, records)
    except RoFormerMILError as error:
        if mistakes or wrong:  # without their rows, patients may be too few
            yield Problem(
                "info", "whether folds can be made cannot be judged before the rows above are corrected", name
            )
        else:
            yield Problem("error", str(error), name)


def open_slides(config: Config, records: Sequence[SlideRecord], progress: bool = True) -> list[SlideRecord]:
    """The records after a trial of every slide: with a failed status where it could not be used, and with warnings."""
    from roformermil.features.hdf5 import inspect_features  # image libraries, which check_plan does not need
    from roformermil.slides.steps import inspect_slide, read_metadata, tissue_settings

    def inspect(record: SlideRecord) -> dict[str, Any]:
        work: Callable[..., Any] = partial(inspect_slide, tissue=config.tissue, tiles=config.tiles)
        if config.encoder.is_imported:
            work = inspect_features
        elif tissue_settings(record, config.tissue).needs_tiatoolbox and not find_spec("tiatoolbox"):
            work = read_metadata
        return run_in_subprocess(work, record, timeout=config.slide_timeout)

    log = logging.getLogger(slide_table.__name__)
    level = log.level
    log.setLevel(logging.ERROR)  # failures and warnings are among the problems
    try:
        return slide_table.run_stage("check", records, inspect, len(os.sched_getaffinity(0)), progress)
    finally:
        log.setLevel(level)


def check_losses(config: Config, name: str, records: Sequence[SlideRecord]) -> Iterator[Problem]:
    """Whether more slides are lost than allowed."""
    lost, allowed = sum(record.is_lost for record in records), config.max_failed_fraction
    if lost > allowed * len(records):
        share = f"{lost / len(records):.0%} of its slides are lost, max_failed_fraction allows {allowed:.0%}"
        yield Problem("error", f"{share}. {LOST_REMEDY}", name)


def check_leaks(config: Config, name: str, usable: list[Slide], records: list[SlideRecord]) -> Iterator[Problem]:
    """Whether folds leak, and whether they test few patients. Raises FoldsError where they cannot be made."""
    from roformermil.evaluation.cautions import few_patients_caution  # pandas, which check_plan does not need

    classes = config.datasets[name].classes
    folds = assign_folds(name, usable, config.folds, classes)
    tested = Counter(label for _, label, _ in {(r.fold, r.label, r.patient_id) for r in folds if r.part == "test"})
    if caution := few_patients_caution([tested[label] / config.folds.count for label in classes], classes):
        yield Problem("warning", caution, name)
    identified = [replace(record, content=content_id(record.path)) for record in records if record.is_ok]
    for finding in find_leaks(folds, usable, identified):
        if message := leak_message([finding], config.leakage, config.folds):
            yield Problem("error", message, name)
        elif finding.outcome == "leak":
            yield Problem("warning", f"{finding.check}: {finding.detail}", name)


def _settings_mistakes(config: Config, records: Sequence[SlideRecord]) -> dict[str, list[str]]:
    """By slide_id, what is wrong with tissue settings of the slide sheet together with those of the data set."""
    from roformermil.slides.steps import tissue_settings

    found = {}
    for record in records:
        if problems := list(_raised("", tissue_settings, record, config.tissue)):
            found[record.slide_id] = [line for problem in problems for line in problem.message.splitlines()]
    return found


def _patients(slides: Sequence[Slide], classes: Sequence[str]) -> str:
    """How many patients have usable slides, in all and of each class."""
    patients = {(slide.label, slide.patient_id) for slide in slides}
    counts = Counter(label for label, _ in patients)
    of_classes = ", ".join(f"{label}: {counts[label]}" for label in classes)
    return f"{plural(len({patient for _, patient in patients}), 'patient')} in use ({of_classes})"


def _list(level: Level, lines: Sequence[str], name: str, limit: int) -> Iterator[Problem]:
    """A problem for each of up to `limit` lines, of each kind the first, and one for the rest."""
    yield from (Problem(level, line, name) for line in choose_lines(lines, limit))
    if (rest := len(lines) - limit) > 0:
        yield Problem(level, f"and {rest} more like these", name, rest)


def _raised(name: str, check: Callable[..., object], *arguments: object) -> Iterator[Problem]:
    """The error that `check` raises, as a problem of the data set `name`."""
    try:
        check(*arguments)
    except RoFormerMILError as error:
        yield Problem("error", str(error), name)
