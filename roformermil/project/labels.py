"""A table of labels joined to slides: by slide id, file name or patient, however its columns are called."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from roformermil.cohort.sheet_text import OPTIONAL, REQUIRED, meant_column, patient_column
from roformermil.errors import SheetError
from roformermil.project.label_columns import CARRIED, check_labels, class_names, find_label_columns
from roformermil.project.label_table import read_cells
from roformermil.project.slide_names import without_ending
from roformermil.runtime.spelling import comparable
from roformermil.runtime.text import first_lines, join_some, plural
from roformermil.tasks import CLASSIFICATION, Classification, Task

SHOWN = 10  # names that a line lists
NOT_OF_LABELS = ("mpp", "tissue", "exclude")  # not taken over where this column has the labels
Cells = dict[str, str]
# rows, with the cells of their labels by column of the slide sheet, and the slides that they name
Given = Sequence[tuple[Cells, Cells, list[str]]]


@dataclass
class JoinedLabels:
    """What a table says about slides, by slide id, and in sentences how it was joined and what did not fit."""

    labels: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    unfinished: dict[str, Cells] = field(default_factory=dict)  # of a slide sheet, cells that are no label yet
    carried: dict[str, Cells] = field(default_factory=dict)  # cells of columns of the slide sheet
    own_columns: list[str] = field(default_factory=list)  # of a slide sheet, those that the user added
    own: dict[str, Cells] = field(default_factory=dict)  # their cells
    patient_source: str = ""
    notes: list[str] = field(default_factory=list)  # how it was joined
    mismatches: list[str] = field(default_factory=list)


class SlideNames:
    """Finds slides by what a table may call them. slides: by slide id its path and its patient or ""."""

    def __init__(self, slides: dict[str, tuple[Path, str]]):
        exact, alike, of_patients = (defaultdict(set) for _ in range(3))
        for slide_id, (path, patient) in slides.items():
            names = {slide_id, without_ending(path.name), path.as_posix(), without_ending(path.as_posix())}
            for name in names:
                exact[name.casefold()].add(slide_id)
                alike[comparable(name)].add(slide_id)
            prefixes = {name[: match.start()] for name in names for match in re.finditer(r"[\s._-]+", name)}
            for name in {patient, *prefixes} - {""}:
                of_patients[comparable(name)].add(slide_id)
        self._exact, self._alike, self._of_patients = exact, alike, of_patients

    def by_slide(self, cell: str) -> set[str]:
        """The slide that a cell names by its id, file name or path, perhaps in another spelling; empty if none or several."""
        path = cell.replace("\\", "/")
        names = [path, without_ending(path), without_ending(PurePosixPath(path).name)]
        for index, key in ((self._exact, str.casefold), (self._alike, comparable)):
            for name in map(key, names):
                if len(found := index.get(name, set())) == 1:
                    return found
        return set()

    def by_patient(self, cell: str) -> set[str]:
        """The slides of the patient that a cell names: by the slides' patients, or since their names begin with it."""
        return self._of_patients.get(comparable(cell), set())


def join_labels(
    table: Path, slides: dict[str, tuple[Path, str]], label_columns: Sequence[str] = (), task: Task = CLASSIFICATION
) -> JoinedLabels:
    """The labels of a CSV file or Excel workbook for these slides (by slide id: path, and patient or "").

    label_columns: those that have them, where their names do not say it. A slide sheet keeps all that was filled in. Raises
    SheetError where the table cannot be read, names no slide, has no column that may have labels, or, unless it is a slide
    sheet, a cell that is no label of the task.
    """
    columns, rows = read_cells(table)
    names, is_sheet = SlideNames(slides), set(REQUIRED) <= set(columns)
    key, is_patient = _key_column(table, columns, rows, names, slides)
    labels = find_label_columns(table, [column for column in columns if column != key], rows, task, label_columns)
    find = names.by_patient if is_patient else names.by_slide
    joined = JoinedLabels()
    joined.notes.append(
        f"{labels} of {table.name}; its rows were matched to slides by column {key!r} "
        f"({'patients' if is_patient else 'slides'})"
    )
    matches = [(row, find(row[key]) if row[key] else set()) for row in rows]
    if is_patient:
        matches = _match_patients(matches, key)
    given = [(row, labels.cells(row), sorted(found)) for row, found in matches if found]
    if not is_sheet:
        check_labels(table, labels, [cells for _, cells, _ in given], task)
    elif replaced := [name for name, column in labels.names.items() if name in columns and name != column]:
        joined.notes.append(f"column {' and '.join(replaced)} of {table.name} is replaced")
    patient = key if is_patient else patient_column(column for column in columns if column != key)
    for row, _, found in given:
        for slide_id in found:
            if patient and row[patient]:
                joined.patients[slide_id] = row[patient]
    if joined.patients:
        joined.patient_source = f"column {patient!r} of {table.name}"
    _carry(given, columns, list(labels.names.values()), task if is_sheet else None, joined)
    used = {key, patient, labels.follow_up, *labels.names.values(), *CARRIED, ""}
    if not is_sheet and (left := [column for column in columns if column not in used]):
        joined.notes.append(f"not taken over: {join_some(left, SHOWN)}; for covariates add columns to the slide sheet")
    joined.labels = _read_labels(table, key, given, task, is_sheet, joined)
    joined.mismatches += _describe_unmatched(matches, key, slides, table.name)
    return joined


def keep_sheet(sheet: Path, task: Task, joined: JoinedLabels) -> None:
    """Add what a slide sheet that will be replaced has beside labels and patients, where the table of labels has nothing.

    Raises SheetError where it cannot be read.
    """
    columns, rows = read_cells(sheet)
    if not set(REQUIRED) <= set(columns):
        return
    former = JoinedLabels()
    _carry([(row, {}, [row["slide_id"]]) for row in rows], columns, [], task, former)
    joined.own_columns += [name for name in former.own_columns if name not in joined.own_columns]
    for kept, cells in ((joined.carried, former.carried), (joined.own, former.own)):
        for slide_id, of_slide in cells.items():
            _fill(kept.setdefault(slide_id, {}), of_slide)
    joined.notes.append(f"columns of the former {sheet.name} besides labels are kept")


def _carry(given: Given, columns: list[str], labels: list[str], sheets_task: Task | None, joined: JoinedLabels) -> None:
    """Take over columns of the slide sheet, and of a slide sheet (with this task) those that the user added. Of several rows of a slide
    the first that has something in a cell counts."""
    sources = {name: name for name in CARRIED if name in columns}
    if sheets_task:
        known = (*REQUIRED, *OPTIONAL, *sheets_task.sheet_columns)
        sources |= {target: c for c in columns if (target := meant_column(c, columns, known)) in CARRIED}
        written = {*known, ""} - ({"label"} - set(sheets_task.sheet_columns))  # a label of another task is kept
        joined.own_columns = [c for c in columns if c not in written and not meant_column(c, columns, known)]
    sources = {name: c for name, c in sources.items() if not (c in labels and name in NOT_OF_LABELS)}
    sources |= {"note": "note"} if sheets_task and "note" in columns else {}
    differing: dict[str, list[str]] = defaultdict(list)
    for row, _, found in given:
        for slide_id in found:
            carried = {name: row[column] for name, column in sources.items()}
            own = {name: row[name] for name in joined.own_columns}
            for kept, cells in ((joined.carried, carried), (joined.own, own)):
                differing[slide_id] += _fill(kept.setdefault(slide_id, {}), cells)
    if told := [f"{slide_id} ({', '.join(names)})" for slide_id, names in differing.items() if names]:
        joined.mismatches.append(f"rows of a slide that differ, the first counts: {join_some(told, SHOWN)}")


def _fill(kept: Cells, cells: Mapping[str, str]) -> list[str]:
    """Fill blank cells of those kept with others; returns the names of those that differ."""
    differing = [name for name, cell in cells.items() if cell and kept.get(name, "") not in ("", cell)]
    kept |= {name: cell for name, cell in cells.items() if cell and not kept.get(name)}
    return differing


def _match_patients(matches: list[tuple[dict[str, str], set[str]]], key: str) -> list[tuple[dict[str, str], set[str]]]:
    """The same, but of rows whose patients are both the start of a slide's name only those with the longest start."""
    longest: dict[str, int] = defaultdict(int)
    for row, slides in matches:
        for slide_id in slides:
            longest[slide_id] = max(longest[slide_id], len(comparable(row[key])))
    return [(row, {s for s in slides if len(comparable(row[key])) == longest[s]}) for row, slides in matches]


def _key_column(
    table: Path, columns: list[str], rows: list[dict[str, str]], names: SlideNames, slides: dict
) -> tuple[str, bool]:
    """The column that names slides, or else patients (True): the one that names the most."""
    best = []
    for find in (names.by_slide, names.by_patient):
        covered = {c: len({s for row in rows if row[c] for s in find(row[c])}) for c in columns}
        column = max(columns, key=lambda c: covered[c])
        best.append((covered[column], column))
    (by_slide, slide_key), (by_patient, patient_key) = best
    if not by_slide and not by_patient:
        first = join_some([repr(slide_id) for slide_id in slides], 3)
        example = ", ".join(f"{column}: {rows[0][column]!r}" for column in columns)
        raise SheetError(
            f"{table.absolute()}: none of its rows names a slide. The slides are {first}; the table's first row is {example}. "
            "One column must have slide ids, file names or patients"
        )
    return (slide_key, False) if 2 * by_slide >= by_patient else (patient_key, True)


def _read_labels(
    table: Path, key: str, given: Given, task: Task, is_sheet: bool, joined: JoinedLabels
) -> dict[str, str]:
    """By slide id its label in one spelling. What is unknown or contradictory is left out, and told. Raises SheetError for cells
    that are no label, before anything is written; those of a slide sheet are kept as they are."""
    found: dict[str, set[str]] = defaultdict(set)
    unfinished, mistakes = {}, []
    for row, cells, slides in given:
        try:
            label = task.read_label(cells) if all(cells.values()) else ""
        except SheetError as error:
            label = ""
            mistakes.append(f"{table.absolute()}, {key} {row[key]!r}: {error}")
        for slide_id in slides:
            found[slide_id] |= {label} - {""}
            if not label and any(cells.values()):
                unfinished[slide_id] = cells
    if mistakes and not is_sheet:
        raise SheetError(first_lines(mistakes, SHOWN))
    spelling: dict[str, str] = {}
    if isinstance(task, Classification):
        spelling = class_names(label for labels in found.values() for label in labels)
    joined.notes += _describe_spelling(spelling)
    in_one_spelling = {slide_id: {spelling.get(x, x) for x in labels} for slide_id, labels in found.items()}
    joined.unfinished = {slide_id: cells for slide_id, cells in unfinished.items() if is_sheet and not found[slide_id]}
    joined.mismatches += _describe_unlabelled(in_one_spelling, unfinished, joined.unfinished, task)
    return {slide_id: next(iter(labels)) for slide_id, labels in in_one_spelling.items() if len(labels) == 1}


def _describe_unlabelled(
    labels: Mapping[str, set[str]], unfinished: Mapping[str, Cells], kept: Mapping[str, Cells], task: Task
) -> list[str]:
    """The slides that get no label although they have a row. kept: unfinished cells that are told as mistakes of the slide sheet."""
    several = [
        f"{slide_id} ({', '.join(sorted(of_slide))})" for slide_id, of_slide in labels.items() if len(of_slide) > 1
    ]
    lines = [f"contradictory labels, left blank: {join_some(several, SHOWN)}"] if several else []
    none = sorted(slide_id for slide_id, of_slide in labels.items() if not of_slide and slide_id not in kept)
    half, blank = ([name for name in none if (name in unfinished) == is_half] for is_half in (True, False))
    for names, problem in (
        (half, f"only one of {' and '.join(task.sheet_columns)}, both left blank"),
        (blank, "a blank label in the table"),
    ):
        lines += [f"{plural(len(names), 'slide')} with {problem}: {join_some(names, SHOWN)}"] if names else []
    return lines


def _describe_spelling(spelling: Mapping[str, str]) -> list[str]:
    renamed = [f"{cell!r} is {name}" for cell, name in sorted(spelling.items()) if cell != name]
    start = "labels written in one way, for names of classes and folders"
    return [f"{start}: {join_some(renamed, SHOWN)}"] if renamed else []


def _describe_unmatched(
    matches: Sequence[tuple[dict[str, str], set[str]]], key: str, slides: Iterable[str], table: str
) -> list[str]:
    """The slides without a row, and the rows without a slide."""
    found = {slide_id for _, of_row in matches for slide_id in of_row}
    lines = []
    if without := [slide_id for slide_id in slides if slide_id not in found]:
        lines.append(
            f"{plural(len(without), 'slide')} without a row in {table}, label left blank: {join_some(without, SHOWN)}"
        )
    if unused := [row[key] or "(blank)" for row, of_row in matches if not of_row]:
        lines.append(
            f"{plural(len(unused), 'row')} of {table} without a slide in the folder: {join_some(unused, SHOWN)}"
        )
    return lines
