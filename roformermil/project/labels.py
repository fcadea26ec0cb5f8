"""A table of labels joined to slides: by slide id, file name or patient, however its columns are called."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from roformermil.cohort.sheet_text import REQUIRED, patient_column, read_text
from roformermil.errors import SheetError
from roformermil.project.label_columns import CARRIED, class_names, find_label_columns, label_cells
from roformermil.project.slide_names import without_ending
from roformermil.runtime.spelling import comparable
from roformermil.runtime.text import first_lines, join_some, plural
from roformermil.tasks import CLASSIFICATION, Classification, Task

WORKBOOKS = (".xlsx", ".xlsm")
SEPARATORS = ",;\t|"
SHOWN = 10  # names that a line lists
WRITTEN = (*REQUIRED, "patient_id", *CARRIED, "note")  # columns of the slide sheet besides labels


@dataclass
class JoinedLabels:
    """What a table says about slides, by slide id, and in sentences how it was joined and what did not fit."""

    labels: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    carried: dict[str, dict[str, str]] = field(default_factory=dict)  # cells of columns of the slide sheet
    extra: dict[str, dict[str, str]] = field(default_factory=dict)  # the user's own columns of a slide sheet
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

    label_columns: those that have them, where their names do not say it. Raises SheetError where the table cannot be read, names
    no slide, has no column that may have labels, or a cell that is no label of the task.
    """
    columns, rows = read_cells(table)
    names = SlideNames(slides)
    key, is_patient = _key_column(table, columns, rows, names, slides)
    labels = find_label_columns(table, [column for column in columns if column != key], rows, task, label_columns)
    find = names.by_patient if is_patient else names.by_slide
    joined = JoinedLabels()
    joined.notes.append(
        f"{' and '.join(_describe_columns(labels))} of {table.name}; its rows were matched to slides by column {key!r} "
        f"({'patients' if is_patient else 'slides'})"
    )
    matches = [(row, find(row[key]) if row[key] else set()) for row in rows]
    if is_patient:
        matches = _match_patients(matches, key)
    patient = key if is_patient else patient_column(column for column in columns if column != key)
    taken_over = [name for name in CARRIED if name not in labels.values()]
    own = (
        [name for name in columns if name and name not in (*WRITTEN, *labels)] if set(REQUIRED) <= set(columns) else []
    )
    given: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row, found in matches:
        for slide_id in found:
            given[slide_id].append(label_cells(row, labels))
            joined.carried[slide_id] = {name: row[name] for name in taken_over if row.get(name)}
            joined.extra[slide_id] = {name: row[name] for name in own}
            if patient and row[patient]:
                joined.patients[slide_id] = row[patient]
    if joined.patients:
        joined.patient_source = f"column {patient!r} of {table.name}"
    joined.labels = _read_labels(table, given, task, joined)
    joined.mismatches += _describe_unmatched(matches, key, slides, table.name)
    return joined


def _describe_columns(labels: dict[str, str]) -> list[str]:
    return [f"{'labels are' if name == 'label' else f'{name} is'} column {column!r}" for name, column in labels.items()]


def read_cells(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of a table that has a header, and its rows without blank ones. Raises SheetError."""
    lines = _read_workbook(table) if table.suffix.lower() in WORKBOOKS else _read_delimited(table)
    lines = [[cell.strip() for cell in cells] for cells in lines if any(map(str.strip, cells))]
    if len(lines) < 2:
        raise SheetError(f"{table.absolute()}: needs a header that names its columns, and rows")
    columns, rows = lines[0], lines[1:]
    return columns, [dict(zip(columns, [*cells, *[""] * len(columns)], strict=False)) for cells in rows]


def _read_delimited(table: Path) -> list[list[str]]:
    text = read_text(table.absolute(), "table of labels")
    header = text.lstrip().partition("\n")[0]
    separator = max(SEPARATORS, key=header.count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True))


def _read_workbook(table: Path) -> list[list[str]]:
    """The cells of the first worksheet, as text."""
    import openpyxl

    try:
        book = openpyxl.load_workbook(table, read_only=True, data_only=True)
        return [["" if cell is None else str(cell) for cell in row] for row in book.worksheets[0].values]
    except Exception as error:  # a zip archive's, an XML parser's, its own
        problem = "no such table of labels" if isinstance(error, FileNotFoundError) else f"is no workbook: {error}"
        raise SheetError(f"{table.absolute()}: {problem}") from error


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
    table: Path, given: dict[str, list[dict[str, str]]], task: Task, joined: JoinedLabels
) -> dict[str, str]:
    """By slide id its label in one spelling. What is unknown or contradictory is left out, and told. Raises SheetError for cells
    that are no label, before anything is written."""
    labels, contradictions, blank, mistakes = {}, [], [], []
    spelling: dict[str, str] = {}
    if isinstance(task, Classification):
        spelling = class_names(cells["label"] for rows in given.values() for cells in rows)
    for slide_id, rows in given.items():
        try:
            of_slide = {task.read_label(cells) for cells in rows} - {""}
        except SheetError as error:
            mistakes.append(f"{table.absolute()}, slide {slide_id}: {error}")
            continue
        of_slide = {spelling.get(label, label) for label in of_slide}
        if len(of_slide) == 1:
            labels[slide_id] = of_slide.pop()
        elif of_slide:
            contradictions.append(f"{slide_id} ({', '.join(sorted(of_slide))})")
        else:
            blank.append(slide_id)
    if mistakes:
        raise SheetError(first_lines(mistakes, SHOWN))
    renamed = [f"{cell!r} is {name}" for cell, name in sorted(spelling.items()) if cell != name]
    if renamed:
        joined.notes.append(f"labels written in one way, for names of classes and folders: {join_some(renamed, SHOWN)}")
    if contradictions:
        joined.mismatches.append(f"contradictory labels, left blank: {join_some(contradictions, SHOWN)}")
    if blank:
        joined.mismatches.append(
            f"{plural(len(blank), 'slide')} with a blank label in the table: {join_some(sorted(blank), SHOWN)}"
        )
    return labels


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
