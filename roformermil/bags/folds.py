"""Folds: which slides train, validate and test. Stratified by label, a patient's slides in one part."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.errors import FoldsError
from roformermil.runtime.files import fingerprint
from roformermil.runtime.records import read_records, write_records

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class FoldRow:
    """One slide's part in one fold: a row of folds.csv."""

    fold: int
    slide_id: str
    patient_id: str
    label: str
    part: str


@dataclass(frozen=True)
class GivenPart:
    """A row of a published split."""

    fold: int
    slide_id: str
    part: str


def assign_folds(dataset: str, slides: list[Slide], settings: Folds, classes: Sequence[str]) -> list[FoldRow]:
    """The folds of a data set: read from `folds.path` where that is set, else made. Raises FoldsError if they cannot be."""
    if settings.path:
        return read_given_folds(Path(settings.path.format(dataset=dataset)), slides, settings, classes)
    return make_folds(slides, settings, classes)


def make_folds(slides: list[Slide], settings: Folds, classes: Sequence[str]) -> list[FoldRow]:
    """Rows of all folds. Raises FoldsError when a class has fewer patients (or slides, if split by slide) than folds.

    The slides are divided into as many groups as there are folds: fold k tests on group k, validates on group k + 1 and
    trains on the rest. With `mode: paper`, a random tenth of the slides outside group k validates, stratified by label.
    """
    check_enough(slides, settings, classes)
    slides = sorted(slides, key=lambda slide: slide.slide_id)  # the order of the slide sheet does not matter
    groups, rows = _divide(slides, settings), []
    for fold in range(settings.count):
        validates = groups == (fold + 1) % settings.count
        if settings.mode == "paper":
            validates = _draw_validation(slides, groups != fold, settings.seed + fold)
        for slide, group, is_validation in zip(slides, groups, validates, strict=True):
            part = "test" if group == fold else "validation" if is_validation else "train"
            rows.append(FoldRow(fold, slide.slide_id, slide.patient_id, slide.label, part))
    check_folds(rows, classes)
    return rows


def _divide(slides: list[Slide], settings: Folds) -> np.ndarray:
    """The group of each slide, 0 to settings.count - 1: (n,)."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow to import; read_folds needs none

    labels = [slide.label for slide in slides]
    patients = [slide.patient_id for slide in slides] if settings.group_by_patient else None
    splitter = StratifiedGroupKFold if settings.group_by_patient else StratifiedKFold
    splits = splitter(settings.count, shuffle=True, random_state=settings.seed).split(labels, labels, patients)
    groups = np.empty(len(slides), int)
    for group, (_, members) in enumerate(splits):
        groups[members] = group
    return groups


def _draw_validation(slides: list[Slide], candidates: np.ndarray, seed: int) -> np.ndarray:
    """Which slides validate, (n,) bool: a tenth of the candidates (n,) bool by label, as in the paper's release."""
    from sklearn.model_selection import train_test_split

    indices = np.flatnonzero(candidates)
    labels = [slides[k].label for k in indices]
    _, drawn = train_test_split(indices, test_size=0.1, stratify=labels, random_state=seed)
    return np.isin(np.arange(len(slides)), drawn)


def read_given_folds(path: Path, slides: list[Slide], settings: Folds, classes: Sequence[str]) -> list[FoldRow]:
    """Published folds: a CSV `fold, slide_id, part`. Slides that it does not name are in no part.

    Raises FoldsError for a missing column, an unknown part, no slide of the slide sheet, or a slide in two parts of a fold.
    """
    path, by_id = path.absolute(), {slide.slide_id: slide for slide in slides}
    try:
        given = read_records(path, GivenPart)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FoldsError(f"{path}: given folds need the columns fold, slide_id, part ({error!r})") from error
    if unknown := sorted({row.part for row in given} - set(PARTS)):
        raise FoldsError(f"{path}: unknown part {unknown[0]!r}; expected {', '.join(PARTS)}")
    if not (known := [(row, by_id[row.slide_id]) for row in given if row.slide_id in by_id]):
        raise FoldsError(f"{path}: contains no slide of the slide sheet")
    if sorted({row.fold for row, _ in known}) != list(range(settings.count)):
        raise FoldsError(f"{path}: its folds must be numbered 0 to {settings.count - 1}; see folds.count")
    rows = [FoldRow(row.fold, row.slide_id, slide.patient_id, slide.label, row.part) for row, slide in known]
    check_folds(rows, classes)
    return rows


def check_folds(rows: list[FoldRow], classes: Sequence[str]) -> None:
    """Raises FoldsError where a slide is in two parts of a fold, or a part lacks a class. `leakage` checks patients."""
    for (fold, slide_id), parts in in_several_parts((row.fold, row.slide_id, row.part) for row in rows).items():
        raise FoldsError(
            f"fold {fold}: slide {slide_id} is in {' and '.join(sorted(parts))}; it must be in one part only"
        )
    labels = defaultdict(set)
    for row in rows:
        labels[row.fold, row.part].add(row.label)
    for fold, part in product({row.fold for row in rows}, PARTS):
        if missing := ", ".join(sorted(set(classes) - labels[fold, part])):
            remedy = "use fewer folds (folds.count) or another folds.seed"
            raise FoldsError(f"fold {fold}: its {part} part has no slide of class {missing}; {remedy}")


def in_several_parts(memberships: Iterable[tuple[int, str, str]]) -> dict[tuple[int, str], set[str]]:
    """The parts of each (fold, name) that is in more than one. memberships: (fold, name, part)."""
    parts = defaultdict(set)
    for fold, name, part in memberships:
        parts[fold, name].add(part)
    return {key: in_parts for key, in_parts in parts.items() if len(in_parts) > 1}


def check_enough(slides: list[Slide], settings: Folds, classes: Sequence[str]) -> None:
    """Raises FoldsError when a class has fewer patients than folds (slides, if folds split by slide)."""
    unit = "patients" if settings.group_by_patient else "slides"
    members = {(slide.label, slide.patient_id if settings.group_by_patient else slide.slide_id) for slide in slides}
    counts = Counter(label for label, _ in members)
    for label in classes:
        if (count := counts[label]) < settings.count:
            remedy = f"set folds.count to {count} or less, or add slides" if count >= 3 else "add slides"
            problem = f"class {label} has {count} {unit} with usable slides, too few for {settings.count} folds"
            raise FoldsError(f"{problem}; {remedy}")


def write_folds(path: Path, rows: list[FoldRow]) -> None:
    """Write folds.csv."""
    write_records(path, rows)


def read_folds(path: Path, fold: int | None = None) -> list[FoldRow]:
    """The rows of one fold or of all, in the order of the file. Raises FoldsError when there are none."""
    if not (rows := [row for row in read_records(path, FoldRow) if fold in (None, row.fold)]):
        raise FoldsError(f"{path.absolute()}: has no fold {fold}")
    return rows


def rows_fingerprint(rows: list[FoldRow]) -> str:
    """Hash of a fold's rows in any order."""
    return fingerprint(rows=sorted([row.fold, row.slide_id, row.patient_id, row.label, row.part] for row in rows))


def derive_seed(*parts: str | int) -> int:
    """A seed from a hash of `parts`, such as data set, model, fold and seed: a result does not depend on what else ran."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:4])
