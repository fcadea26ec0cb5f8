"""The slides that a call of `predict` names: slide files, feature stores, folders of either, slide sheets."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from roformermil.cohort.slide_files import companions
from roformermil.cohort.slide_sheet import Slide, read_slide_sheet
from roformermil.cohort.slide_table import SlideRecord, failed_record, records_from_sheet
from roformermil.errors import ConfigError, SlideError, Status
from roformermil.runtime.text import join_some, plural
from roformermil.slides.slide_folder import SlideFolder, find_slides, is_feature_file, is_feature_store, slide_name
from roformermil.tasks import Task, as_task

log = logging.getLogger(__name__)
SHEET = ".csv"


def read_inputs(paths: Sequence[Path], out: Path) -> list[SlideRecord]:
    """A record per slide or feature store in the order of `paths`; failed where there is no file, excluded by a slide sheet.

    Of a folder, the slides in it and below; where there are none, its feature stores, else its feature files (.h5). What lies in `out` is left out. A slide
    has the name of its sheet's slide_id, or of its file, with those of its folders where a folder has several of that name.
    Raises ConfigError for several slides of one name, and where there is no slide; SheetError for a sheet's mistakes.
    """
    parts = {
        part for path in paths for part in companions(path.absolute()) if part.is_dir()
    }  # `slides/*` names them too
    records: dict[tuple[str, Path], SlideRecord] = {}
    for path in (path.absolute() for path in paths):
        if path not in parts:
            records |= {(record.slide_id, record.path.resolve()): record for record in _records_of(path, out)}
    if not records:
        raise ConfigError(f"no slide to predict in {join_some([str(path.absolute()) for path in paths])}")
    if duplicates := [name for name, count in Counter(name for name, _ in records).items() if count > 1]:
        files = join_some([str(path) for name, path in records if name == duplicates[0]])
        problem = f"several slides are called {join_some(duplicates)} ({files})"
        remedy = f"predict them into different folders (--out), or name them in a slide sheet ({SHEET})"
        raise ConfigError(f"{problem}: {remedy}")
    return list(records.values())


def read_labels(paths: Sequence[Path], task: Task | Sequence[str]) -> dict[str, dict[str, str]]:
    """By slide_id, the `label` of the slides in those of the `paths` that are slide sheets with labels.

    task: or the classes of a classification, of which a label that is none is left out, with a warning. Raises SheetError for a label
    that is none of another task.
    """
    task = as_task(task)
    sheets, classes = _read_sheets(paths, None if task.classes else task), task.classes
    labelled = [slide for slides in sheets if any(one.label for one in slides) for slide in slides]
    if not classes:
        return {slide.slide_id: {"label": slide.label} for slide in labelled}
    if unknown := sorted({slide.label for slide in labelled} - {"", *classes}):
        known = ", ".join(classes)
        log.warning("labels that are no class of the model (%s) are not evaluated: %s", known, join_some(unknown))
    return {slide.slide_id: {"label": slide.label if slide.label in classes else ""} for slide in labelled}


def read_patients(paths: Sequence[Path]) -> dict[str, str]:
    """The patient_id of each slide that a slide sheet among `paths` names. Raises SheetError as `read_inputs`."""
    return {slide.slide_id: slide.patient_id for slides in _read_sheets(paths) for slide in slides}


def _read_sheets(paths: Sequence[Path], task: Task | None = None) -> list[list[Slide]]:
    """The slides of each slide sheet among `paths`."""
    sheets = [path.absolute() for path in paths if path.suffix.lower() == SHEET]
    return [read_slide_sheet(path, path.parent, task, allow_absolute=True, check_files=False) for path in sheets]


def _records_of(path: Path, out: Path) -> list[SlideRecord]:
    if path.suffix.lower() == SHEET:
        slides = read_slide_sheet(path, path.parent, allow_absolute=True, check_files=False)
        relative = f"; paths of the slide sheet are relative to {path.parent}: put it into the slides' folder, or write whole paths"
        return [_checked(record, relative) for record in records_from_sheet(slides)]
    if path.is_dir() and path.suffix != ".zarr":
        return _records_of_folder(path, out)
    return [_checked(SlideRecord(slide_name(path), path))]


def _records_of_folder(folder: Path, out: Path) -> list[SlideRecord]:
    found = find_slides(folder, without=out)
    kind, chosen = "slide", found.slides
    if not chosen:
        kind, chosen = "feature store", [path for path, _ in found.others if is_feature_store(path)]
    if not chosen:
        kind, chosen = "feature file", [path for path, _ in found.others if is_feature_file(path)]
    others = SlideFolder([], [other for other in found.others if other[0] not in set(chosen)])
    for line in [plural(len(chosen), kind), *others.describe_others()]:
        log.info("%s: %s", folder, line)
    counts = Counter(map(slide_name, chosen))
    return [SlideRecord(_name_in(folder, path, counts), path) for path in chosen]


def _name_in(folder: Path, path: Path, counts: Counter[str]) -> str:
    """A slide's name, after its folders below `folder` where several are called alike."""
    if counts[name := slide_name(path)] == 1:
        return name
    return "_".join([*path.relative_to(folder).parent.parts, name])


def _checked(record: SlideRecord, hint: str = "") -> SlideRecord:
    if not record.is_ok or record.path.exists():
        return record
    return failed_record(record, "predict", SlideError(Status.MISSING, f"{record.path}: no such file{hint}"))
