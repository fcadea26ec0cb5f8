"""The slide sheet: the slides of a data set, their patients, labels and files."""

import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roformermil.cohort.sheet_text import read_table
from roformermil.config import Tissue
from roformermil.config.base import parse_yaml, read_settings
from roformermil.config.tissue import METHODS_OF_KEY
from roformermil.errors import ConfigError, SheetError
from roformermil.runtime.spelling import look_alikes
from roformermil.runtime.text import first_lines, join_some, plural

if TYPE_CHECKING:
    from roformermil.tasks import Task

SHOWN_MISTAKES, SHOWN_NAMES = 10, 10
SLIDE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
NO_REASON = {"0", "false", "n", "no", "na", "n/a", "nan", "none", "null"}  # to exclude a slide
ROUNDED = re.compile(r"\d([.,]\d+)?[eE]\+\d+")  # 123456789012 as 1.23E+11
UNKNOWN = {"?", "-", "na", "n/a", "#n/a", "nan", "none", "null", "unknown"}  # patients, labels and covariates
# in tables of the GDC and of TCGA
UNKNOWN |= {"--", "'--", "not reported", "[not available]", "[not applicable]", "[unknown]"}


@dataclass(frozen=True)
class Slide:
    """A row of the slide sheet."""

    slide_id: str
    patient_id: str  # slide_id where the slide sheet names no patients
    label: str  # "" for a slide that is not trained on
    path: Path  # the sheet's path below the data set's root
    mpp: float | None  # um/px, overrides the file's own
    tissue: str = ""  # settings of section Tissue for this slide alone, YAML
    exclude: str = ""  # why it is left out: mislabelled, a duplicate, ...
    site: str = ""  # where it was made: a hospital, a scanner


def read_slide_sheet(
    sheet: Path,
    root: Path,
    task: "Task | Sequence[str] | None" = None,
    allow_absolute: bool = False,
    check_files: bool = True,
) -> list[Slide]:
    """Read and check a slide sheet; labels only where there is a task (or the classes of a classification), files only with `check_files`.

    Raises SheetError with one line per mistake: file, row (1 is the header), what was given and what was expected.
    Mistakes are a duplicate or unusable id, no patient where other slides have one, an unknown class, a path to no file or
    outside `root` (unless absolute paths are allowed), an unusable mpp or tissue setting. A slide may have no label.
    """
    slides, mistakes = parse_slide_sheet(sheet, root, task, allow_absolute, check_files)
    if mistakes:
        raise SheetError(first_lines(mistakes, SHOWN_MISTAKES))
    return slides


def parse_slide_sheet(
    sheet: Path,
    root: Path,
    task: "Task | Sequence[str] | None" = None,
    allow_absolute: bool = False,
    check_files: bool = True,
) -> tuple[list[Slide], list[str]]:
    """The slides of all rows without a mistake, and a line for each mistake; arguments as in `read_slide_sheet`.

    Raises SheetError for a file that is not a slide sheet, or has no rows.
    """
    sheet, mistakes = sheet.absolute(), []
    if task is not None:
        from roformermil.tasks import as_task  # numpy, which every verb would load at its start

        task = as_task(task)
    columns, rows = read_table(sheet, task.sheet_columns if task else ())
    if not rows:
        raise SheetError(f"{sheet}: the slide sheet has a header, but no rows")
    if check_files and not root.is_dir() and not allow_absolute:  # said once, not for every slide
        mistakes, check_files = [f"{sheet}: the data set's root is not a folder: {root.absolute()}"], False
    has_patients = "patient_id" in columns and any(any(cells[columns.index("patient_id") :][:1]) for _, cells in rows)
    slides: list[Slide] = []
    rows_of_ids: dict[str, int] = {}
    ids_of_paths: dict[Path, str] = {}
    for number, cells in rows:
        if len(cells) < len(columns) or any(cells[len(columns) :]):
            hint = "; quote cells that contain a comma, and write decimals with a point" * (len(cells) > len(columns))
            mistakes.append(f"{sheet}, row {number}: {len(cells)} cells, but the header has {len(columns)}{hint}")
            continue
        row = dict(zip(columns, cells, strict=False))
        if not has_patients:
            row["patient_id"] = row["slide_id"]
        slide, found = _parse_row(row, root, task, allow_absolute)
        if (first := rows_of_ids.setdefault(slide.slide_id, number)) != number:
            found.append(f"duplicate slide_id {slide.slide_id!r} (rows {first} and {number})")
        if slide.path and (owner := ids_of_paths.setdefault(slide.path, slide.slide_id)) != slide.slide_id:
            found.append(f"slide {slide.slide_id!r} is the same file as slide {owner!r}: {slide.path}")
        if check_files and slide.path and not slide.exclude:
            found += _file_mistake(slide)
        mistakes += [f"{sheet}, row {number}: {mistake}" for mistake in found]
        if not found:
            slides.append(slide)
    return slides, mistakes


def parse_mpp(text: str, given: str) -> float:
    """The resolution in um/px. given: the text and what it was given as, for the SheetError where it is none."""
    with suppress(ValueError):
        if 0 < (mpp := float(text)) < math.inf:
            return mpp
    hint = f"; write {text.replace(',', '.')}" if re.fullmatch(r"\d+,\d+", text) else ""
    raise SheetError(f"{given} is not a positive number of um/px{hint}")


def sheet_warnings(slides: Sequence[Slide]) -> list[str]:
    """What is valid but may be a mistake."""
    labels = defaultdict(set)
    for slide in slides:
        labels[slide.patient_id].update({slide.label} - {""})
    warnings = []
    unlabelled = [slide.slide_id for slide in slides if not slide.label]
    if 0 < len(unlabelled) < len(slides):
        warnings.append(f"{plural(len(unlabelled), 'slide')} without a label, not trained on: {join_some(unlabelled)}")
    if differing := sorted(patient for patient, of_patient in labels.items() if len(of_patient) > 1):
        question = "Is that intended? Folds keep a patient's slides together, each slide with its own label"
        warnings.append(f"patients with slides of several labels: {join_some(differing)}. {question}")
    if patients := look_alikes(labels):
        remedy = "Folds would keep them apart: where they are one patient, write patient_id in one way"
        warnings.append(f"these look like one patient each: {join_some(patients, SHOWN_NAMES)}. {remedy}")
    alike = [names for names in look_alikes(slide.slide_id for slide in slides) if names not in patients]
    if alike:
        warnings.append(f"these look like one slide each: {join_some(alike, SHOWN_NAMES)}. Check slide_id and path")
    counts = Counter(slide.patient_id for slide in slides if slide.patient_id.lower() in UNKNOWN)
    for patient, count in counts.items():
        if count > 1:
            remedy = "for unknown patients, repeat slide_id as patient_id"
            warnings.append(f"patient_id {patient!r} of {count} slides counts as one patient: {remedy}")
    if rounded := sorted(name for name in labels if ROUNDED.fullmatch(name)):
        remedy = "format the column as text and enter these again"
        warnings.append(f"a spreadsheet has rounded these patient_id: {join_some(rounded)}; {remedy}")
    return warnings


def _parse_row(row: dict[str, str], root: Path, task: "Task | None", absolute: bool) -> tuple[Slide, list[str]]:
    """The slide of a row, and the row's mistakes. What cannot be used is None in the slide."""
    mistakes: list[str] = []

    def attempt(check: Callable[..., Any], *values: Any) -> Any:
        try:
            return check(*values)
        except (ConfigError, SheetError) as error:
            mistakes.extend(str(error).splitlines())

    slide_id, patient_id = row["slide_id"], row["patient_id"]
    tissue = row.get("tissue", "")
    attempt(_check_slide_id, slide_id)
    if slide_id and not patient_id:
        remedy = "if the patient is unknown, repeat slide_id"
        mistakes.append(f"slide {slide_id!r} has no patient_id, but others have: {remedy}")
    label = attempt(_parse_label, row, slide_id, task) if task else row.get("label", "")
    path = attempt(_parse_path, row["path"], slide_id, root, absolute)
    mpp = attempt(parse_mpp, row["mpp"], f"mpp {row['mpp']!r} of slide {slide_id!r}") if row.get("mpp") else None
    if tissue:
        attempt(_check_tissue, tissue, f"tissue of slide {slide_id!r}")
    if (exclude := row.get("exclude", "")).lower() in NO_REASON:
        remedy = "write why it is left out, or leave the cell empty"
        mistakes.append(f"exclude {exclude!r} of slide {slide_id!r} is not a reason: {remedy}")
    return Slide(slide_id, patient_id, label, path, mpp, tissue, exclude, row.get("site", "")), mistakes


def _check_slide_id(slide_id: str) -> None:
    if not SLIDE_ID.fullmatch(slide_id):
        raise SheetError(f"slide_id {slide_id!r} may only have letters, digits, '.', '_' and '-': it names files")


def _parse_label(row: dict[str, str], slide_id: str, task: "Task") -> str:
    try:
        return task.read_label(row)
    except SheetError as error:
        raise SheetError(f"slide {slide_id!r} has {error}") from error


def _parse_path(text: str, slide_id: str, root: Path, absolute: bool) -> Path:
    if not text:
        raise SheetError(f"slide {slide_id!r} has no path")
    expanded = os.path.expanduser(text)
    path = os.path.normpath(root / expanded)
    inside = os.path.relpath(path, root).split(os.sep)[0] != os.pardir
    if not (inside or (absolute and os.path.isabs(expanded))):
        hint = "; see the data set's allow_absolute" if os.path.isabs(expanded) else ""
        hint = "; give its absolute path" if absolute else hint
        raise SheetError(f"path {text!r} of slide {slide_id!r} is not inside the root {str(root.absolute())!r}{hint}")
    return Path(path)


def _check_tissue(text: str, where: str) -> None:
    """Keys and values alone: the method that they must fit may be the data set's (`steps.tissue_settings`)."""
    own = parse_yaml(text, where)
    if isinstance(own, dict) and "method" not in own:
        methods = [METHODS_OF_KEY[key] for key in own if key in METHODS_OF_KEY]
        fitting = (method for method in chain(*methods) if all(method in others for others in methods))
        own = {"method": next(fitting, "hsv"), **own}
    read_settings(Tissue, own, where)


def _file_mistake(slide: Slide) -> list[str]:
    """Why the slide's file cannot be there, if so."""
    path = slide.path
    if path.is_file() or (path.suffix == ".zarr" and path.is_dir()):
        return []
    if path.is_dir():
        return [f"slide {slide.slide_id!r}: {path.absolute()} is a folder; give the slide's file in it"]
    hint = "write / between folders, not \\" if "\\" in str(path) else "check path and the data set's root"
    return [f"slide {slide.slide_id!r}: no file at {path.absolute()}; {hint}"]
