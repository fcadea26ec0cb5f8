"""Folds: which slides train, validate and test. Stratified by label, a patient's slides together."""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.errors import FoldsError
from roformermil.runtime.files import fingerprint
from roformermil.runtime.records import write_rows

PARTS = ("train", "validation", "test")
PAPER_VALIDATION = 0.1  # of what is not tested, in the paper's release


@dataclass(frozen=True)
class FoldRow:
    """One slide's part in one fold."""

    fold: int
    slide_id: str
    patient_id: str
    label: str
    part: str


def assign_folds(dataset: str, slides: list[Slide], settings: Folds, classes: Sequence[str]) -> list[FoldRow]:
    """A data set's folds: given ones where `folds.path` says so, else made. Raises FoldsError where there can be none."""
    if settings.path:
        return given_folds(Path(settings.path.format(dataset=dataset)), slides, settings, classes)
    return make_folds(slides, settings, classes)


def make_folds(slides: list[Slide], settings: Folds, classes: Sequence[str]) -> list[FoldRow]:
    """Fold k tests on part k, validates on part k + 1 and trains on the rest, so every slide is tested once.

    With `mode: paper` a tenth of the slides outside part k, drawn by label, validates instead.

    Raises FoldsError when a class has too few patients (slides, without grouping) to be in every part.
    """
    from sklearn.model_selection import (  # slow to import, and read_folds needs none
        StratifiedGroupKFold,
        StratifiedKFold,
        train_test_split,
    )

    slides = sorted(slides, key=lambda slide: slide.slide_id)  # the sheet's order is immaterial
    labels, patients = [s.label for s in slides], [s.patient_id for s in slides]
    check_enough(slides, settings, classes)
    if settings.group_by_patient:
        splitter = StratifiedGroupKFold(settings.count, shuffle=True, random_state=settings.seed)
        splits = splitter.split(labels, labels, patients)
    else:
        splits = StratifiedKFold(settings.count, shuffle=True, random_state=settings.seed).split(labels, labels)
    part_of = np.empty(len(slides), int)
    for part, (_, test) in enumerate(splits):
        part_of[test] = part
    rows = []
    for fold in range(settings.count):
        if settings.mode == "paper":
            others = np.flatnonzero(part_of != fold)
            _, drawn = train_test_split(
                others, test_size=PAPER_VALIDATION, stratify=np.array(labels)[others], random_state=settings.seed + fold
            )
            validates = np.isin(np.arange(len(slides)), drawn)
        else:
            validates = part_of == (fold + 1) % settings.count
        for slide, part, validating in zip(slides, part_of, validates, strict=True):
            name = "test" if part == fold else "validation" if validating else "train"
            rows.append(FoldRow(fold, slide.slide_id, slide.patient_id, slide.label, name))
    check_folds(rows, classes)
    return rows


def given_folds(path: Path, slides: list[Slide], settings: Folds, classes: Sequence[str]) -> list[FoldRow]:
    """Published folds: a CSV `fold, slide_id, part`. Slides that it does not name take no part.

    Raises FoldsError for an unknown part, slides none of which are in the sheet, or a slide in two parts of a fold.
    """
    known = {s.slide_id: s for s in slides}
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            given = [(int(r["fold"]), r["slide_id"], r["part"]) for r in csv.DictReader(file)]
    except (OSError, KeyError, ValueError) as error:
        raise FoldsError(f"{path}: given folds need the columns fold, slide_id, part ({error!r})") from error
    if wrong := sorted({part for _, _, part in given} - set(PARTS)):
        raise FoldsError(f"{path}: unknown part {wrong[0]!r}; expected {', '.join(PARTS)}")
    rows = [FoldRow(f, s, known[s].patient_id, known[s].label, part) for f, s, part in given if s in known]
    if not rows:
        raise FoldsError(f"{path}: none of its slides is in the slide sheet")
    if sorted({row.fold for row in rows}) != list(range(settings.count)):
        raise FoldsError(f"{path}: its folds must be numbered 0 to {settings.count - 1}; see folds.count")
    check_folds(rows, classes)
    return rows


def check_folds(rows: list[FoldRow], classes: Sequence[str]) -> None:
    """Raises FoldsError where a slide is in two parts of a fold, or a part lacks a class. Patients are the leak audit's."""
    parts: dict[tuple[int, str], set[str]] = defaultdict(set)
    seen: dict[tuple[int, str], set[str]] = defaultdict(set)
    for row in rows:
        parts[row.fold, row.part].add(row.label)
        seen[row.fold, row.slide_id].add(row.part)
    for (fold, name), where in seen.items():
        if len(where) > 1:
            raise FoldsError(
                f"fold {fold}: slide {name} is in {' and '.join(sorted(where))}; a slide has one part in a fold"
            )
    for fold in {row.fold for row in rows}:
        for part in PARTS:
            if missing := set(classes) - parts[fold, part]:
                raise FoldsError(
                    f"fold {fold}: its {part} part has no slide of class {', '.join(sorted(missing))}; "
                    "use fewer folds (folds.count) or another folds.seed"
                )


def check_enough(slides: list[Slide], settings: Folds, classes: Sequence[str]) -> None:
    """Raises FoldsError when a class has too few patients (slides, without grouping) for a part each."""
    units = defaultdict(set)
    for slide in slides:
        units[slide.label].add(slide.patient_id if settings.group_by_patient else slide.slide_id)
    what = "patients" if settings.group_by_patient else "slides"
    for label in classes:
        if (found := len(units[label])) < settings.count:
            raise FoldsError(
                f"class {label} has {found} {what} with usable slides, too few for {settings.count} folds; "
                + (f"set folds.count to {found} or less, or add slides" if found >= 3 else "add slides")
            )


def write_folds(path: Path, rows: list[FoldRow]) -> None:
    write_rows(path, [asdict(row) for row in rows])


def read_folds(path: Path, fold: int) -> list[FoldRow]:
    """The rows of one fold. Raises FoldsError when the file has none."""
    rows = [row for row in read_all_folds(path) if row.fold == fold]
    if not rows:
        raise FoldsError(f"{path}: has no fold {fold}")
    return rows


def read_all_folds(path: Path) -> list[FoldRow]:
    """The rows of all folds, in the file's order."""
    with open(path, newline="", encoding="utf-8") as file:
        return [FoldRow(int(r.pop("fold")), **r) for r in csv.DictReader(file)]


def rows_fingerprint(rows: list[FoldRow]) -> str:
    """Digest of a fold's rows, whatever their order."""
    return fingerprint(rows=sorted([row.fold, row.slide_id, row.patient_id, row.label, row.part] for row in rows))


def derive_seed(*parts: str | int) -> int:
    """A seed of its own for each (dataset, model, fold, seed): a result does not depend on which others ran."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
