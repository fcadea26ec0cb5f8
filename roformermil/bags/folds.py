"""Folds: which slides train, validate and test. Stratified by the task's strata of labels, a patient's or a site's slides in one part."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from roformermil.bags.site_folds import check_sites, divide_sites, draw_validation_sites, strata_to_share
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.errors import FoldsError
from roformermil.runtime.files import fingerprint
from roformermil.runtime.records import read_records, write_records
from roformermil.runtime.text import join_some, plural
from roformermil.tasks import Task, as_task

if TYPE_CHECKING:
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

PARTS = ("train", "validation", "test")
MIN_FOLDS = 3  # one each to test, to validate and to train


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


def assign_folds(dataset: str, slides: list[Slide], settings: Folds, task: Task | Sequence[str]) -> list[FoldRow]:
    """The folds of a data set: read from `folds.path` where that is set, else made. Slides without a label are in no fold.

    task: or the classes of a classification, here and below. Raises FoldsError if folds cannot be made, such as without labels
    or classes.
    """
    check_labels(slides, task)
    slides = [slide for slide in slides if slide.label]
    if given := given_folds(dataset, settings):
        return read_given_folds(given, slides, settings, task)
    return make_folds(slides, settings, task)


def given_folds(dataset: str, settings: Folds) -> Path | None:
    """The file of a data set's given folds, if the settings name one."""
    return Path(settings.path.replace("{dataset}", dataset)) if settings.path else None


def make_folds(slides: list[Slide], settings: Folds, task: Task | Sequence[str]) -> list[FoldRow]:
    """Rows of all folds. Raises FoldsError when a stratum that every part needs, such as a class, has fewer patients (slides, if
    split by slide; sites, with mode `site`) than folds, and when two repeats divide the slides alike.

    The slides are divided into as many groups as there are folds: fold k tests on group k, validates on a share of the
    others and trains on the rest. Each repeat divides them again, with another seed.
    """
    check_enough(slides, settings, task)
    listed = sorted(slides, key=lambda slide: slide.slide_id)  # the order of the slide sheet does not matter
    slides = with_strata(listed, task)
    draw = {"paper": _draw_tenth, "site": _draw_sites}.get(settings.mode, _draw_validation)
    rows, divisions = [], set()
    for fold in settings.numbers:
        repeat, tested = divmod(fold, settings.count)
        if tested == 0:
            groups = _divide(slides, settings, settings.seed + repeat)
            divisions.add(frozenset(tuple(np.flatnonzero(groups == group)) for group in range(settings.count)))
        validates = draw(slides, np.flatnonzero(groups != tested), settings, fold)
        for slide, group, is_validation in zip(listed, groups, validates, strict=True):
            part = "test" if group == tested else "validation" if is_validation else "train"
            rows.append(FoldRow(fold, slide.slide_id, slide.patient_id, slide.label, part))
    fewer = "use fewer folds (folds.count), " if settings.count > MIN_FOLDS else ""
    unit = "sites" if settings.mode == "site" else "patients" if settings.group_by_patient else "slides"
    check_folds(rows, task, f"{fewer}use another folds.seed, or add {unit}")
    if len(divisions) < settings.repeats:
        different = f"{settings.repeats} repeats divide the {unit} in only {plural(len(divisions), 'way')}"
        raise FoldsError(f"{different}: set folds.repeats to {len(divisions)}, or use another folds.seed")
    return rows


def with_strata(slides: Sequence[Slide], task: Task | Sequence[str]) -> list[Slide]:
    """The slides with the stratum of their label in its place, where they have one."""
    labels = [slide.label for slide in slides if slide.label]
    strata = iter(as_task(task).strata(labels) if labels else [])
    return [replace(slide, label=next(strata)) if slide.label else slide for slide in slides]


def _divide(slides: list[Slide], settings: Folds, seed: int) -> np.ndarray:
    """The group of each slide, 0 to settings.count - 1: (n,). Their labels are strata, here and below."""
    if settings.mode == "site":
        return divide_sites(slides, settings.count, seed)
    labels = strata_to_share(slides, settings.count)
    patients = [slide.patient_id for slide in slides] if settings.group_by_patient else None
    splits = _splitter(settings, settings.count, seed).split(labels, labels, patients)
    groups = np.empty(len(slides), int)
    for group, (_, members) in enumerate(splits):
        groups[members] = group
    return groups


def _splitter(settings: Folds, count: int, seed: int) -> "StratifiedKFold | StratifiedGroupKFold":
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # slow to import; read_folds needs none

    splitter = StratifiedGroupKFold if settings.group_by_patient else StratifiedKFold
    return splitter(count, shuffle=True, random_state=seed)


def _draw_validation(slides: list[Slide], candidates: np.ndarray, settings: Folds, fold: int) -> np.ndarray:
    """Which slides validate, (n,) bool: the share `validation` of each class's patients (slides, if split by slide) among the
    candidates (m,), rounded, at least one and not all. A patient with several classes counts for the rarest of them."""
    units = [slide.patient_id if settings.group_by_patient else slide.slide_id for slide in slides]
    labels: dict[str, set[str]] = {}
    for k in candidates:
        labels.setdefault(units[k], set()).add(slides[k].label)
    counts = Counter(label for of_unit in labels.values() for label in of_unit)
    strata: dict[str, list[str]] = {}
    for unit, of_unit in labels.items():
        strata.setdefault(min(of_unit, key=lambda label: (counts[label], label)), []).append(unit)
    random = np.random.default_rng(derive_seed(settings.seed, fold))
    drawn: set[str] = set()
    for _, members in sorted(strata.items()):
        share = math.floor(settings.validation * len(members) + 0.5)
        drawn.update(random.permutation(members)[: min(max(1, share), len(members) - 1)].tolist())
    return np.isin(units, list(drawn)) & np.isin(np.arange(len(slides)), candidates)


def _draw_sites(slides: list[Slide], candidates: np.ndarray, settings: Folds, fold: int) -> np.ndarray:
    """Which slides validate, (n,) bool: those of whole sites among the candidates (m,)."""
    return draw_validation_sites(slides, candidates, settings.validation, derive_seed(settings.seed, fold))


def _draw_tenth(slides: list[Slide], candidates: np.ndarray, settings: Folds, fold: int) -> np.ndarray:
    """Which slides validate, (n,) bool: a tenth of the candidates (m,) by label, as in the paper's release."""
    from sklearn.model_selection import train_test_split

    labels = [slides[k].label for k in candidates]
    try:
        _, drawn = train_test_split(candidates, test_size=0.1, stratify=labels, random_state=settings.seed + fold)
    except ValueError as error:
        problem = f"a tenth of {len(labels)} slides is too few to validate on a slide of each class or stratum"
        raise FoldsError(f"{problem}; set folds.mode to kfold, or add slides") from error
    return np.isin(np.arange(len(slides)), drawn)


def read_given_folds(path: Path, slides: list[Slide], settings: Folds, task: Task | Sequence[str]) -> list[FoldRow]:
    """Published folds: a CSV `fold, slide_id, part`. Slides that it does not name are in no part.

    Raises FoldsError for a missing column, an unknown part, no slide of the slide sheet, or a slide in two parts of a fold.
    """
    path, by_id = path.absolute(), {slide.slide_id: slide for slide in slides}
    try:
        given = read_records(path, GivenPart)
    except FileNotFoundError as error:
        raise FoldsError(f"{path}: no such file of given folds; see folds.path") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FoldsError(f"{path}: given folds need the columns fold, slide_id, part ({error!r})") from error
    if unknown := sorted({row.part for row in given} - set(PARTS)):
        raise FoldsError(f"{path}: unknown part {unknown[0]!r}; expected {', '.join(PARTS)}")
    if not (known := [(row, by_id[row.slide_id]) for row in given if row.slide_id in by_id]):
        raise FoldsError(f"{path}: contains no slide of the slide sheet")
    if sorted({row.fold for row, _ in known}) != list(settings.numbers):
        raise FoldsError(
            f"{path}: its folds must be numbered 0 to {settings.numbers[-1]}; see folds.count and folds.repeats"
        )
    rows = [FoldRow(row.fold, row.slide_id, slide.patient_id, slide.label, row.part) for row, slide in known]
    check_folds(rows, task, f"correct {path}")
    return rows


def check_folds(rows: list[FoldRow], task: Task | Sequence[str], remedy: str) -> None:
    """Raises FoldsError where a slide is in two parts of a fold, or a part lacks a stratum that it needs, such as a class. `leakage`
    checks patients.

    remedy: what to do where a part lacks one.
    """
    task = as_task(task)
    for (fold, slide_id), parts in in_several_parts((row.fold, row.slide_id, row.part) for row in rows).items():
        raise FoldsError(
            f"fold {fold}: slide {slide_id} is in {' and '.join(sorted(parts))}; it must be in one part only"
        )
    labels = defaultdict(set)
    for row, stratum in zip(rows, task.strata([row.label for row in rows]), strict=True):
        labels[row.fold, row.part].add(stratum)
    if empty := [
        f"fold {fold}: its {part} part has no slide"
        for fold, part in product(sorted({row.fold for row in rows}), PARTS)
        if not labels[fold, part]
    ]:
        raise FoldsError(f"{join_some(empty)}; {remedy}")
    missing = [
        f"fold {fold}: its {part} part has no slide of {task.name_strata(sorted(absent))}"
        for fold, part in product(sorted({row.fold for row in rows}), PARTS)
        if (absent := set(task.needed_strata) - labels[fold, part])
    ]
    if missing:
        raise FoldsError(f"{join_some(missing)}; {remedy}")


def in_several_parts(memberships: Iterable[tuple[int, str, str]]) -> dict[tuple[int, str], set[str]]:
    """The parts of each (fold, name) that is in more than one. memberships: (fold, name, part)."""
    parts = defaultdict(set)
    for fold, name, part in memberships:
        parts[fold, name].add(part)
    return {key: in_parts for key, in_parts in parts.items() if len(in_parts) > 1}


def check_labels(slides: Sequence[Slide], task: Task | Sequence[str]) -> None:
    """Raises FoldsError, which says what to write where, without classes or without a label."""
    task, labels = as_task(task), sorted({slide.label for slide in slides} - {""})
    if not labels:
        raise FoldsError(f"no usable slide has a label: {task.label_help}")
    if lacking := task.lacks(labels):
        raise FoldsError(lacking)


def check_enough(slides: list[Slide], settings: Folds, task: Task | Sequence[str]) -> None:
    """Raises FoldsError when a stratum that every part needs, such as a class, has fewer patients than folds (slides, if folds split
    by slide), or all slides together have, and as `check_labels` and, with mode `site`, `check_sites` do."""
    check_labels(slides, task)
    task, slides = as_task(task), with_strata([slide for slide in slides if slide.label], task)
    if settings.mode == "site":
        check_sites(slides, settings, task)
    unit = "patient" if settings.group_by_patient else "slide"
    members = {(slide.label, slide.patient_id if settings.group_by_patient else slide.slide_id) for slide in slides}
    counts = {task.name_strata([label]): sum(one == label for one, _ in members) for label in task.needed_strata}
    counts = counts or {"the data set": len({name for _, name in members})}
    if few := {name: count for name, count in counts.items() if count < settings.count}:
        found = ", ".join(f"{name} has {plural(count, unit)}" for name, count in few.items())
        smallest = min(few.values())
        fewer = f"set folds.count to {smallest} or less, or add {unit}s"
        each = "each class" if task.classes else "it"
        remedy = fewer if smallest >= MIN_FOLDS else f"add {unit}s, {each} needs {MIN_FOLDS} or more"
        usable = "patients with usable slides" if settings.group_by_patient else "usable slides"
        raise FoldsError(f"too few {usable} for {settings.count} folds: {found}; {remedy}")


def write_folds(path: Path, rows: list[FoldRow]) -> None:
    """Write folds.csv."""
    write_records(path, rows)


def read_folds(path: Path, fold: int | None = None) -> list[FoldRow]:
    """The rows of one fold or of all, in the order of the file. Raises FoldsError when there are none."""
    if not (rows := [row for row in read_records(path, FoldRow) if fold in (None, row.fold)]):
        raise FoldsError(f"{path.absolute()}: has no fold {fold}")
    return rows


def rows_fingerprint(rows: Iterable[FoldRow]) -> str:
    """Hash of a fold's rows in any order."""
    return fingerprint(rows=sorted([row.fold, row.slide_id, row.patient_id, row.label, row.part] for row in rows))


def derive_seed(*parts: str | int) -> int:
    """A seed from a hash of `parts`, such as data set, fold and seed: a result does not depend on what else ran."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:4])
