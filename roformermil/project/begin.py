"""A project begun from a folder of slides: its slide sheet and its configuration, as far as the files tell."""

import csv
import io
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from roformermil.cohort import slide_table
from roformermil.cohort.slide_sheet import parse_mpp, parse_slide_sheet
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.config import SLIDE_TIMEOUT, load_config
from roformermil.config.task import TaskName
from roformermil.errors import TRANSIENT, ConfigError, SheetError, Status
from roformermil.project.config_file import ProjectFacts, config_text, order_classes
from roformermil.project.labels import JoinedLabels, join_labels, keep_sheet
from roformermil.project.replaced import back_up, is_same, replaced_task, still_fits, with_patients_of
from roformermil.project.slide_names import (
    Patients,
    class_folders,
    folders_as_patients,
    patients_of,
    slide_ids,
    usable_id,
)
from roformermil.runtime.files import write_text
from roformermil.runtime.subprocesses import SubprocessStream, preload
from roformermil.slides.scale import mpp_source_text
from roformermil.slides.slide_folder import SlideFolder, find_slides
from roformermil.slides.steps import read_format, read_metadata
from roformermil.tasks import Classification, Task, make_task, task_of

INIT_NOTE = re.compile(r".*, \d+ x \d+ px, \S+ um/px \(.*\)")
NEEDS_MPP = (Status.NO_MPP, Status.ABSURD_MPP, Status.ANISOTROPIC)
PatientSource = Literal["auto", "folders", "slides"]
preload(__name__)


@dataclass(frozen=True)
class Choices:
    """What to take from where, as the user asks. task: None for that of the configuration that is replaced, or classes."""

    labels: Path | None = None  # a table of labels
    label_columns: Sequence[str] = ()
    label_folders: bool = False
    patients: PatientSource = "auto"
    task: TaskName | None = None


@dataclass(frozen=True)
class SheetRow:
    """A row of the new slide sheet."""

    slide_id: str
    patient_id: str
    path: str
    label: Mapping[str, str]  # the cells of the task's columns
    mpp: str = ""
    exclude: str = ""
    site: str = ""
    tissue: str = ""
    note: str = ""  # what the user wrote; or format, size and resolution, or why the slide cannot be used


@dataclass(frozen=True)
class OpenedSlide:
    """A slide after it was opened: with size and resolution, or why it cannot be used."""

    record: SlideRecord
    format: str = ""

    @property
    def lacks_mpp(self) -> bool:
        return self.record.status in NEEDS_MPP

    @property
    def problem(self) -> str:
        """Why it cannot be used, without the path."""
        return f"{self.record.status}: {self.record.message.removeprefix(f'{self.record.path}: ')}"


@dataclass(frozen=True)
class Project:
    """A new project: its two files, and what they were made of."""

    folder: Path
    sheet: Path
    config: Path
    choices: Choices
    files: SlideFolder
    opened: list[OpenedSlide]
    patients: Patients
    joined: JoinedLabels
    rows: list[SheetRow]
    facts: ProjectFacts
    mistakes: list[str]  # of the slide sheet, through cells of the table of labels
    keeps_config: bool  # the configuration that was there
    backups: list[Path]  # of files that were replaced


def begin(folder: Path, out: Path, choices: Choices, force: bool = False, progress: bool = True) -> Project:
    """Write the slide sheet `{out}.csv` and the configuration `{out}.yaml` of the slides in `folder`.

    force: whether to replace these files. A configuration that still fits stays, since it may be edited; of what is replaced
    there is a copy, `.bak`, and the slide sheet's columns are kept. Raises ConfigError where they exist otherwise, SheetError where there is no slide or
    the table of labels does not fit the slides.
    """
    sheet, config = (out.with_name(f"{out.name}{suffix}") for suffix in (".csv", ".yaml"))
    task = make_task(choices.task or replaced_task(config))
    if not force:
        _check_absent(sheet, config, task)
    root = folder.absolute()
    files = _find_files(root)
    ids, patients = slide_ids(files.slides, root), _find_patients(files.slides, root, choices.patients)
    former = sheet if sheet.exists() and not is_same(sheet, choices.labels) else None
    if former and choices.patients == "auto":
        patients = with_patients_of(former, patients, {slide_id: path for path, slide_id in ids.items()})
    joined = _find_labels(ids, root, patients, choices, task)
    if former:
        keep_sheet(former, task, joined)
    opened = open_slides([_record(ids[path], path, joined) for path in files.slides], progress)
    rows = _complete_patients([_sheet_row(slide, root, patients, joined, task) for slide in opened])
    facts = _facts(usable_id(out.name), sheet, root, rows, opened, joined, task)
    keeps_config = still_fits(config, facts)
    backups = [back_up(file) for file in ([sheet] if keeps_config else [sheet, config]) if file.exists()]
    _write_sheet(sheet, rows, task, joined)
    if not keeps_config:
        write_text(config, config_text(facts, config))
    _, mistakes = parse_slide_sheet(sheet, root, task_of(load_config(config), facts.name))
    return Project(
        folder, sheet, config, choices, files, opened, patients, joined, rows, facts, mistakes, keeps_config, backups
    )


def open_slides(records: Sequence[SlideRecord], progress: bool = True) -> list[OpenedSlide]:
    """The slides after each was opened, in a subprocess."""
    formats: dict[str, str] = {}

    def open_slide(record: SlideRecord) -> dict[str, Any]:
        with closing(SubprocessStream(_read_file, record, timeout=SLIDE_TIMEOUT)) as parts:
            formats[record.slide_id] = next(parts)["format"]
            return next(parts)

    log = logging.getLogger(slide_table.__name__)
    level = log.level
    log.setLevel(logging.ERROR)  # failures are told at the end
    try:
        opened = run_stage("opening", records, open_slide, len(os.sched_getaffinity(0)), progress)
    finally:
        log.setLevel(level)
    return [OpenedSlide(record, formats.get(record.slide_id, "")) for record in opened]


def _read_file(record: SlideRecord) -> Iterator[dict[str, Any]]:
    """A slide's format, also of one without a resolution; then its size and resolution. Raises SlideError."""
    yield read_format(record.path)
    yield read_metadata(record)


def _check_absent(sheet: Path, config: Path, task: Task) -> None:
    if existing := [str(file.absolute()) for file in (sheet, config) if file.exists()]:
        remedy = "give another name with --out, or replace with --force"
        options = f"--labels {sheet} --task {task.name} --force"
        kept = f"`{options}` keeps what you filled in in the slide sheet"
        raise ConfigError(f"already there: {' and '.join(existing)}; {remedy}. {kept}")


def _find_files(root: Path) -> SlideFolder:
    if not root.is_dir():
        raise SheetError(f"{root}: {'is a file; give the folder that it is in' if root.exists() else 'no such folder'}")
    files = find_slides(root, without=Path("results"))
    if not files.slides:
        raise SheetError("\n".join([f"{root}: contains no slides, nor do the folders in it", *files.describe_others()]))
    return files


def _find_patients(slides: Sequence[Path], root: Path, source: PatientSource) -> Patients:
    if source == "auto":
        return patients_of(slides, root)
    return folders_as_patients(slides, root) if source == "folders" else Patients({})


def _find_labels(ids: dict[Path, str], root: Path, patients: Patients, choices: Choices, task: Task) -> JoinedLabels:
    if choices.labels:
        slides = {ids[path]: (path.relative_to(root), patients.of.get(path, "")) for path in ids}
        return join_labels(choices.labels, slides, choices.label_columns, task)
    if choices.label_folders:
        labels = {ids[path]: usable_id(name) for path, name in class_folders(list(ids), root).items()}
        return JoinedLabels(labels, notes=["labels are the names of the sub-folders, as you asked"])
    return JoinedLabels()


def _record(slide_id: str, path: Path, joined: JoinedLabels) -> SlideRecord:
    mpp = joined.carried.get(slide_id, {}).get("mpp")
    with suppress(SheetError):  # told with the other mistakes of the sheet
        return SlideRecord(slide_id, path, parse_mpp(mpp, "") if mpp else None)
    return SlideRecord(slide_id, path)


def _sheet_row(slide: OpenedSlide, root: Path, patients: Patients, joined: JoinedLabels, task: Task) -> SheetRow:
    record, slide_id = slide.record, slide.record.slide_id
    patient = joined.patients.get(slide_id) or patients.of.get(record.path, "")
    label = joined.unfinished.get(slide_id) or task.write_label(joined.labels.get(slide_id, ""))
    path, carried = record.path.relative_to(root).as_posix(), joined.carried.get(slide_id, {})
    row = SheetRow(slide_id, patient, path, label, **carried)
    if _is_note_of_init(row.note, slide.format):
        row = replace(row, note="")
    if record.is_ok:
        if row.exclude.partition(": ")[0] in set(Status):  # an earlier `init` wrote it; the file was replaced since
            row = replace(row, exclude="")
        note = f"{slide.format}, {record.width} x {record.height} px, {record.mpp:.4g} um/px ({mpp_source_text(record.mpp_source)})"
        return replace(row, note=row.note or note)
    if (
        slide.lacks_mpp or record.status in TRANSIENT
    ):  # can be used once the resolution is filled in, or the disk answers
        return replace(row, note=row.note or slide.problem)
    return replace(row, exclude=row.exclude or slide.problem, note=row.note or slide.format)


def _is_note_of_init(note: str, slide_format: str) -> bool:
    """Whether an earlier `init` wrote a note, which may have changed since, and not the user."""
    is_status = note.partition(": ")[0] in set(Status)
    return note == slide_format or is_status or bool(INIT_NOTE.fullmatch(note))


def _complete_patients(rows: list[SheetRow]) -> list[SheetRow]:
    """Where some slides have a patient, each other slide is one of its own: its slide id."""
    if not any(row.patient_id for row in rows):
        return rows
    return [replace(row, patient_id=row.patient_id or row.slide_id) for row in rows]


def _write_sheet(sheet: Path, rows: Sequence[SheetRow], task: Task, joined: JoinedLabels) -> None:
    """Write the rows, with the user's own columns, without `site` and `tissue` where these are empty."""
    cells = [asdict(row) | dict(row.label) | joined.own.get(row.slide_id, {}) for row in rows]
    columns = ["slide_id", "patient_id", *task.sheet_columns, "path", "mpp", "exclude"]
    columns += [name for name in ("site", "tissue") if any(row[name] for row in cells)]
    columns += ["note", *joined.own_columns]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    needs_mark = not text.getvalue().isascii()  # without a byte order mark Excel takes UTF-8 for Windows-1252
    write_text(sheet, "\ufeff" * needs_mark + text.getvalue())


def _facts(
    name: str,
    sheet: Path,
    root: Path,
    rows: Sequence[SheetRow],
    opened: Sequence[OpenedSlide],
    joined: JoinedLabels,
    task: Task,
) -> ProjectFacts:
    used = [row for row in rows if not row.exclude]
    labels = [joined.labels.get(row.slide_id, "") for row in used]
    if isinstance(task, Classification):
        task = Classification(tuple(order_classes(set(labels) - {""})))
    patients = [row.patient_id or row.slide_id for row in used]
    mpps = [slide.record.mpp for slide in opened if slide.record.mpp]
    return ProjectFacts(name, sheet, root, task, labels, patients, mpps)
