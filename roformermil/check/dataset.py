"""The checks of one data set: its slide sheet, slides, folds and leaks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from roformermil.bags.folds import FoldRow, assign_folds, check_enough, with_strata
from roformermil.bags.leakage import find_leaks, leak_message
from roformermil.bags.patients import with_patient_labels
from roformermil.check.covariates import check_sheet_covariates
from roformermil.check.inspection import InspectedSlide, inspect_slides
from roformermil.check.problems import Problem, list_problems, locate, raised
from roformermil.cohort import slide_table
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_messages import group_lost, group_warnings
from roformermil.cohort.slide_sheet import SHOWN_MISTAKES, Slide, parse_slide_sheet, sheet_warnings
from roformermil.cohort.slide_table import LOST_REMEDY, SHOWN_SLIDES, SlideRecord
from roformermil.cohort.tcga_sites import with_sites
from roformermil.config import Config
from roformermil.config.dataset import Dataset
from roformermil.errors import RoFormerMILError, SheetError
from roformermil.runtime.text import plural
from roformermil.tasks import Task, task_of


@dataclass(frozen=True)
class CheckedDataset:
    """What the checks found of a data set."""

    problems: list[Problem]
    slides: list[InspectedSlide]
    folds: list[FoldRow]  # none where they cannot be made
    is_labelled: bool = False  # whether it can be trained on
    sheet: list[Slide] = field(default_factory=list)  # rows without a mistake that are in use


def check_dataset(config: Config, name: str, progress: bool = True) -> CheckedDataset:
    """A data set's slide sheet and, for its rows without mistakes, slide files, folds and leaks."""
    dataset = config.datasets[name]
    place = Problem("info", describe_place(dataset), name)
    here = not dataset.source  # others may still have to be downloaded
    try:
        slides, mistakes = parse_slide_sheet(
            dataset.slides, dataset.root, task_of(config, name), dataset.allow_absolute, here
        )
    except SheetError as error:
        return CheckedDataset([place, *list_problems("error", str(error).splitlines(), name, SHOWN_MISTAKES)], [], [])
    try:
        slides = with_sites(slides, dataset.sites)
    except SheetError as error:
        mistakes += str(error).splitlines()
    records = slide_table.records_from_sheet(slides)
    absent = {record.slide_id for record in records if record.is_ok and not record.path.exists()}
    wrong = _settings_mistakes(config, records)
    inspected = inspect_slides(config, [r for r in records if r.slide_id not in absent.union(wrong)], progress)
    records = [slide.record for slide in inspected]
    found = _Found(config, name, slides, [*mistakes, *(line for lines in wrong.values() for line in lines)], records)
    problems = [place, *list_problems("error", mistakes, name, SHOWN_MISTAKES)]
    if absent and dataset.source:
        remedy = "run `snakemake download`, then check again"
        message = f"{len(absent)} of {len(slides)} slides are not downloaded yet: {remedy}"
        problems.append(Problem("warning", message, name))
    problems += list_problems("error", found.mistakes[len(mistakes) :], name, SHOWN_MISTAKES)
    problems += found.problems_of_slides(absent)
    folds, problems_of_folds = found.try_folds(absent)
    in_use = [slide for slide in slides if not slide.exclude]
    problems += check_sheet_covariates(config, name, in_use)
    return CheckedDataset(problems + problems_of_folds, inspected, folds, found.is_labelled, in_use)


def describe_place(dataset: Dataset) -> str:
    """Where a data set's slide sheet is, and what its paths are relative to."""
    return f"slide sheet {locate(dataset.slides)}; its paths are relative to the root {locate(dataset.root)}"


@dataclass(frozen=True)
class _Found:
    """A data set's slides, from its slide sheet and their files."""

    config: Config
    name: str
    slides: list[Slide]  # of the rows without a mistake
    mistakes: list[str]
    records: list[SlideRecord]

    @property
    def is_labelled(self) -> bool:
        """Whether models can be trained: there are classes, and slides with labels."""
        return not self.task.lacks() and any(slide.label for slide in self.slides)

    @property
    def task(self) -> Task:
        return task_of(self.config, self.name)

    def _usable(self, others: set[str] = frozenset()) -> list[Slide]:  # type: ignore[assignment]
        ids = {record.slide_id for record in self.records if record.is_ok} | others
        return [slide for slide in self.slides if slide.slide_id in ids]

    def problems_of_slides(self, absent: set[str]) -> Iterator[Problem]:
        """What became of slides, in few lines."""
        name, records = self.name, self.records
        summary = f"{slide_table.attrition_summary(records)}; {_patients(self._usable(), self.task)}"
        yield Problem("info", f"without the rows above: {summary}" if self.mistakes else summary, name)
        yield from list_problems("warning", group_lost(records), name, SHOWN_SLIDES)
        yield from list_problems("warning", group_warnings(records), name, SHOWN_SLIDES)
        yield from (Problem("warning", line, name) for line in sheet_warnings(self._usable(absent)))
        yield from check_losses(self.config, name, records)
        yield from list_problems("error", slide_table.mixed_widths(records).splitlines(), name, SHOWN_SLIDES)
        yield from list_problems("warning", slide_table.mixed_extractors(records).splitlines(), name, SHOWN_SLIDES)

    def try_folds(self, absent: set[str]) -> tuple[list[FoldRow], list[Problem]]:
        """The folds, where all slides are there and folds can be made, and what is wrong with them."""
        task, usable = self.task, self._usable(absent)
        try:
            if self.config.unit == "patient":
                usable = with_patient_labels(usable)
            if self.name in self.config.external_datasets:  # no folds divide its slides
                return [], []
            if absent:
                check_enough(usable, self.config.folds, task)
            elif usable:
                folds = assign_folds(self.name, usable, self.config.folds, task)
                return folds, list(check_leaks(self.config, self.name, usable, self.records, folds))
        except RoFormerMILError as error:
            return [], [self._without_folds(str(error))]
        return [], []

    def _without_folds(self, message: str) -> Problem:
        """What follows from folds that cannot be made, with the reason."""
        if not self.is_labelled:
            possible = "slides can be segmented and encoded (target `features`), but not trained on"
            return Problem("warning", f"{possible}: {message}", self.name)
        if self.mistakes:  # without their rows, patients may be too few
            later = "whether folds can be made cannot be judged before the rows above are corrected"
            return Problem("info", later, self.name)
        return Problem("error", message, self.name)


def check_losses(config: Config, name: str, records: Sequence[SlideRecord]) -> Iterator[Problem]:
    """Whether more slides are lost than allowed."""
    lost, allowed = sum(record.is_lost for record in records), config.max_failed_fraction
    if lost > allowed * len(records):
        share = f"{lost / len(records):.0%} of its slides are lost, max_failed_fraction allows {allowed:.0%}"
        yield Problem("error", f"{share}. {LOST_REMEDY}", name)


def check_leaks(
    config: Config, name: str, usable: list[Slide], records: list[SlideRecord], folds: list[FoldRow]
) -> Iterator[Problem]:
    """Whether folds leak, and whether they test few patients."""
    from roformermil.evaluation.cautions import few_patients_caution  # pandas, which `check_plan` does not need

    task = task_of(config, name)
    stratum = dict(zip(labels := sorted({row.label for row in folds}), task.strata(labels), strict=True))
    tests = {(row.fold, stratum[row.label], row.patient_id) for row in folds if row.part == "test"}
    tested, count = Counter(name for _, name, _ in tests), len(config.folds.numbers)
    per_fold = {f"of {task.name_strata([name])}": tested[name] / count for name in task.needed_strata}
    if per_fold and (caution := few_patients_caution(per_fold, task.few)):
        yield Problem("warning", caution, name)
    identified = [replace(record, content=content_id(record.path)) for record in records if record.is_ok]
    for finding in find_leaks(folds, with_strata(usable, task), identified):
        if message := leak_message([finding], config.leakage, config.folds):
            yield Problem("error", message, name)
        elif finding.outcome == "leak":
            yield Problem("warning", f"{finding.check}: {finding.detail}", name)


def _settings_mistakes(config: Config, records: Sequence[SlideRecord]) -> dict[str, list[str]]:
    """By slide_id, what is wrong with tissue settings of the slide sheet together with those of the data set."""
    from roformermil.slides.steps import tissue_settings

    found = {}
    for record in records:
        if problems := list(raised("", tissue_settings, record, config.tissue)):
            found[record.slide_id] = [line for problem in problems for line in problem.message.splitlines()]
    return found


def _patients(slides: Sequence[Slide], task: Task) -> str:
    """How many patients have usable slides, in all and of each class, or of each stratum that folds need."""
    patients = {(slide.label, slide.patient_id) for slide in with_strata(slides, task)}
    counts = Counter(label for label, _ in patients)
    of_classes = ", ".join(f"{label}: {counts[label]}" for label in task.needed_strata)
    in_use = f"{plural(len({patient for _, patient in patients}), 'patient')} in use"
    return f"{in_use} ({of_classes})" if of_classes else in_use
