"""The slide sheet: which slides a data set has, whose they are and what they show."""

import csv
import math
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from roformermil.config import Tissue
from roformermil.errors import ConfigError, SheetError, some_of
from roformermil.settings import read_settings

REQUIRED, OPTIONAL = ("slide_id", "patient_id", "label", "path"), ("mpp", "tissue", "exclude", "site", "note")
LISTED = 10  # faults of a sheet that are said at once
SLIDE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Slide:
    """A row of the slide sheet."""

    slide_id: str
    patient_id: str
    label: str
    path: str  # as opened: the data set's root joined with the sheet's path
    mpp: float | None  # um/px, overrides the file's own
    tissue: str = ""  # settings of config section Tissue that hold for this slide alone, YAML
    exclude: str = ""  # why it is left out: mislabelled, a duplicate, ...
    site: str = ""  # where it was made: a hospital, a scanner


def read_sheet(
    sheet: Path,
    root: Path,
    classes: list[str] | None = None,
    allow_absolute: bool = False,
    files: bool = True,
) -> list[Slide]:
    """Read and check a slide sheet; labels only where `classes` are given, files only with `files`.

    Raises SheetError naming the file, the row (1 is the header) and what was expected, for each row that has a
    duplicate or unusable id, no patient, an unknown class, a path to no file, or outside `root` (unless it is absolute and
    that is allowed), an unusable mpp, or unusable tissue settings.
    """
    sheet, root = Path(sheet), Path(root)
    try:
        with open(sheet, newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, skipinitialspace=True)
            columns = [cell.strip() for cell in next(lines, [])]
            rows = [(lines.line_num, [cell.strip() for cell in cells]) for cells in lines if any(cells)]
    except FileNotFoundError as error:
        hint = "; the demo's is written by `make demo`" if sheet.parts[-2:] == ("demo", "slides.csv") else ""
        raise SheetError(f"{sheet}: there is no such slide sheet{hint}") from error
    except OSError as error:
        raise SheetError(f"{sheet}: the slide sheet cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SheetError(f"{sheet}: the slide sheet is not UTF-8 text") from error
    if len(columns) == 1 and ";" in columns[0]:
        raise SheetError(f"{sheet}: its cells are separated by ';'; save it with commas (CSV, comma delimited)")
    if missing := [c for c in REQUIRED if c not in columns]:
        raise SheetError(
            f"{sheet}: column {missing[0]!r} is missing; needed are {', '.join(REQUIRED)}, and there may be {', '.join(OPTIONAL)}"
        )
    if unknown := [c for c in columns if c not in REQUIRED + OPTIONAL]:
        raise SheetError(f"{sheet}: unknown column {unknown[0]!r}; expected {', '.join(REQUIRED + OPTIONAL)}")
    if twice := {c for c in columns if columns.count(c) > 1}:
        raise SheetError(f"{sheet}: column {twice.pop()!r} stands twice")
    if not rows:
        raise SheetError(f"{sheet}: the slide sheet has no rows")

    slides: dict[str, Slide] = {}
    owners: dict[str, str] = {}
    faults: list[str] = []
    for number, cells in rows:
        where = f"{sheet}, row {number}"
        try:
            if len(cells) != len(columns):
                raise SheetError(f"{where}: {len(cells)} cells where the header has {len(columns)} (a decimal comma?)")
            slide = _slide(dict(zip(columns, cells, strict=True)), where, root, classes, allow_absolute)
            if files and not slide.exclude:
                _check_file(slide, where)
            if slide.slide_id in slides:
                raise SheetError(f"{where}: slide_id {slide.slide_id!r} stands twice")
            if owner := owners.get(slide.path):
                raise SheetError(f"{where}: slide {slide.slide_id!r} is the same file as slide {owner!r}: {slide.path}")
            slides[slide.slide_id], owners[slide.path] = slide, slide.slide_id
        except SheetError as fault:
            faults.append(str(fault))
    if faults:
        raise SheetError(
            "\n".join(faults[:LISTED]) + (f"\nand {len(faults) - LISTED} more" if len(faults) > LISTED else "")
        )
    return list(slides.values())


def doubts(slides: list[Slide]) -> list[str]:
    """What may be meant, and is worth a look before hours go into it."""
    labels = defaultdict(set)
    for slide in slides:
        labels[slide.patient_id].add(slide.label)
    several = sorted(patient for patient, found in labels.items() if len(found) > 1)
    if not several:
        return []
    return [
        f"patients with slides of several classes: {some_of(several)}. Is that meant? Folds keep a patient's slides together, each "
        "slide under its own label"
    ]


def _slide(row: dict[str, str], where: str, root: Path, classes: list[str] | None, absolute: bool) -> Slide:
    slide_id, label = row["slide_id"], row["label"]
    if not SLIDE_ID.fullmatch(slide_id):
        raise SheetError(f"{where}: slide_id {slide_id!r} must be letters, digits, '.', '_' and '-': it names files")
    if not row["patient_id"]:
        raise SheetError(f"{where}: slide {slide_id!r} has no patient_id; folds keep a patient's slides together")
    if classes is not None and label not in classes:
        raise SheetError(f"{where}: slide {slide_id!r} has label {label!r}; expected one of {', '.join(classes)}")
    path = os.path.normpath(root / row["path"])
    inside = os.path.relpath(path, root).split(os.sep)[0] != os.pardir
    if not row["path"] or not (inside or (absolute and os.path.isabs(row["path"]))):
        hint = "; see the data set's allow_absolute" if os.path.isabs(row["path"]) else ""
        raise SheetError(
            f"{where}: path {row['path']!r} of slide {slide_id!r} is not inside the root {str(root)!r}{hint}"
        )
    tissue = row.get("tissue", "")
    if tissue:
        try:
            read_settings(Tissue, tissue, f"{where}: tissue of slide {slide_id!r}")
        except ConfigError as error:
            raise SheetError(str(error)) from error
    mpp = _mpp(row.get("mpp", ""), where, slide_id)
    return Slide(slide_id, row["patient_id"], label, path, mpp, tissue, row.get("exclude", ""), row.get("site", ""))


def _check_file(slide: Slide, where: str) -> None:
    if not (os.path.isfile(slide.path) or (slide.path.endswith(".zarr") and os.path.isdir(slide.path))):
        raise SheetError(
            f"{where}: slide {slide.slide_id!r}: no file at {slide.path}; check the path and the data set's root"
        )


def _mpp(text: str, where: str, slide_id: str) -> float | None:
    if not text:
        return None
    try:
        mpp = float(text)
    except ValueError:
        mpp = math.nan
    if not (math.isfinite(mpp) and mpp > 0):
        raise SheetError(f"{where}: mpp {text!r} of slide {slide_id!r} is not a positive number of um/px")
    return mpp
