"""The slide sheet: the slides of a data set, their patients, labels and files."""

import csv
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from roformermil.config import Tissue
from roformermil.config.base import read_settings
from roformermil.errors import ConfigError, SheetError
from roformermil.runtime.text import first_lines, join_some

REQUIRED, OPTIONAL = ("slide_id", "patient_id", "label", "path"), ("mpp", "tissue", "exclude", "site", "note")
SHOWN_PROBLEMS = 10
SLIDE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Slide:
    """A row of the slide sheet."""

    slide_id: str
    patient_id: str
    label: str
    path: Path  # the sheet's path below the data set's root
    mpp: float | None  # um/px, overrides the file's own
    tissue: str = ""  # settings of section Tissue for this slide alone, YAML
    exclude: str = ""  # why it is left out: mislabelled, a duplicate, ...
    site: str = ""  # where it was made: a hospital, a scanner


def read_slide_sheet(
    sheet: Path, root: Path, classes: list[str] | None = None, allow_absolute: bool = False, check_files: bool = True
) -> list[Slide]:
    """Read and check a slide sheet; labels only where `classes` are given, files only with `check_files`.

    Raises SheetError with one line per bad row: file, row (1 is the header), what was given and what was expected. Bad
    are a duplicate or unusable id, no patient, an unknown class, a path to no file or outside `root` (unless absolute
    paths are allowed), an unusable mpp or tissue setting.
    """
    columns, lines = _read_lines(sheet)
    _check_columns(sheet, columns)
    if not lines:
        raise SheetError(f"{sheet}: the slide sheet has no rows")
    slides: list[Slide] = []
    rows_of_ids: dict[str, int] = {}
    ids_of_paths: dict[Path, str] = {}
    problems: list[str] = []
    for number, cells in lines:
        try:
            if len(cells) != len(columns):
                raise SheetError(f"{len(cells)} cells, but the header has {len(columns)} (a decimal comma?)")
            slide = _parse_row(dict(zip(columns, cells, strict=True)), root, classes, allow_absolute)
            slide_id, path = slide.slide_id, slide.path
            if check_files and not slide.exclude and not (path.is_file() or (path.suffix == ".zarr" and path.is_dir())):
                raise SheetError(
                    f"slide {slide_id!r}: no file at {path.absolute()}; check path and the data set's root"
                )
            if (first := rows_of_ids.setdefault(slide_id, number)) != number:
                raise SheetError(f"duplicate slide_id {slide_id!r} (rows {first} and {number})")
            if (owner := ids_of_paths.setdefault(path, slide_id)) != slide_id:
                raise SheetError(f"slide {slide_id!r} is the same file as slide {owner!r}: {path}")
            slides.append(slide)
        except (ConfigError, SheetError) as problem:
            problems.append(f"{sheet}, row {number}: {problem}")
    if problems:
        raise SheetError(first_lines(problems, SHOWN_PROBLEMS))
    return slides


def sheet_warnings(slides: Sequence[Slide]) -> list[str]:
    """What is valid but may be a mistake."""
    labels = defaultdict(set)
    for slide in slides:
        labels[slide.patient_id].add(slide.label)
    several = sorted(patient for patient, of_patient in labels.items() if len(of_patient) > 1)
    question = "Is that intended? Folds keep a patient's slides together, each slide with its own label"
    return [f"patients with slides of several classes: {join_some(several)}. {question}"] if several else []


def _read_lines(sheet: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and each row that is not blank with its line number."""
    try:
        with open(sheet, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, skipinitialspace=True)
            columns = [cell.strip() for cell in next(reader, [])]
            return columns, [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except FileNotFoundError as error:
        hint = "; `make demo` writes the demo's" if sheet.parts[-2:] == ("demo", "slides.csv") else ""
        raise SheetError(f"{sheet.absolute()}: no such slide sheet{hint}") from error
    except OSError as error:
        raise SheetError(f"{sheet.absolute()}: the slide sheet cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SheetError(f"{sheet}: the slide sheet is not UTF-8 text") from error


def _check_columns(sheet: Path, columns: list[str]) -> None:
    if len(columns) == 1 and ";" in columns[0]:
        raise SheetError(f"{sheet}: cells are separated by ';': save the sheet with commas (CSV, comma delimited)")
    if missing := [column for column in REQUIRED if column not in columns]:
        columns_text = f"required are {', '.join(REQUIRED)}, optional {', '.join(OPTIONAL)}"
        raise SheetError(f"{sheet}: no column {missing[0]!r}; {columns_text}")
    if unknown := [column for column in columns if column not in REQUIRED + OPTIONAL]:
        raise SheetError(f"{sheet}: unknown column {unknown[0]!r}; expected {', '.join(REQUIRED + OPTIONAL)}")
    if duplicates := [column for column, count in Counter(columns).items() if count > 1]:
        raise SheetError(f"{sheet}: duplicate column {duplicates[0]!r}")


def _parse_row(row: dict[str, str], root: Path, classes: Sequence[str] | None, absolute: bool) -> Slide:
    slide_id, label = row["slide_id"], row["label"]
    if not SLIDE_ID.fullmatch(slide_id):
        raise SheetError(f"slide_id {slide_id!r} may only have letters, digits, '.', '_' and '-': it names files")
    if not row["patient_id"]:
        raise SheetError(f"slide {slide_id!r} has no patient_id; folds keep a patient's slides together")
    if classes is not None and label not in classes:
        raise SheetError(f"slide {slide_id!r} has label {label!r}; expected one of {', '.join(classes)}")
    if tissue := row.get("tissue", ""):
        read_settings(Tissue, tissue, f"tissue of slide {slide_id!r}")
    path, mpp = _parse_path(row["path"], slide_id, root, absolute), _parse_mpp(row.get("mpp"), slide_id)
    return Slide(slide_id, row["patient_id"], label, path, mpp, tissue, row.get("exclude", ""), row.get("site", ""))


def _parse_path(text: str, slide_id: str, root: Path, absolute: bool) -> Path:
    path = os.path.normpath(root / text)
    inside = os.path.relpath(path, root).split(os.sep)[0] != os.pardir
    if not text or not (inside or (absolute and os.path.isabs(text))):
        hint = "; see the data set's allow_absolute" if os.path.isabs(text) else ""
        raise SheetError(f"path {text!r} of slide {slide_id!r} is not inside the root {str(root)!r}{hint}")
    return Path(path)


def _parse_mpp(text: str | None, slide_id: str) -> float | None:
    if not text:
        return None
    with suppress(ValueError):
        if 0 < (mpp := float(text)) < math.inf:
            return mpp
    raise SheetError(f"mpp {text!r} of slide {slide_id!r} is not a positive number of um/px")
