"""Which columns of a table have the labels of a task, however they are called, and the names of classes in one spelling."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from roformermil.cohort.sheet_text import SURVIVAL_SYNONYMS, patient_column
from roformermil.cohort.slide_sheet import UNKNOWN
from roformermil.errors import SheetError
from roformermil.project.slide_names import usable_id
from roformermil.runtime.spelling import comparable
from roformermil.runtime.text import join_some
from roformermil.tasks import Classification, Survival, Task

Rows = list[dict[str, str]]
CARRIED = ("mpp", "tissue", "exclude", "site")  # columns of the slide sheet that are taken over
# names of columns that have labels, the likelier first
LABEL_NAMES = [
    "label",
    "labels",
    "class",
    "classes",
    "target",
    "subtype",
    "diagnosis",
    "category",
    "outcome",
    "response",
]
LABEL_NAMES += ["group", "type", "grade", "status"]
MOST_CLASSES = 20  # of a column that is taken for labels although its name does not say so
SIGNS = {"+": "_pos", "-": "_neg"}  # at the end of a label, as in HER2+
EVENTS = {"1": ("dead", "deceased", "died", "yes", "true"), "0": ("alive", "living", "censored", "no", "false")}
EVENT_WORDS = {word: number for number, words in EVENTS.items() for word in words}
CBIOPORTAL = re.compile(r"([01]):.*")  # its tables write 1:DECEASED and 0:LIVING, 1:PROGRESSION and 0:CENSORED


def find_label_columns(
    table: Path, columns: Sequence[str], rows: Rows, task: Task, wanted: Sequence[str] = ()
) -> dict[str, str]:
    """The table's column for each of the task's columns of the slide sheet.

    columns: those that may have labels; wanted: those that the user names, in the order of `Task.sheet_columns`. Raises
    SheetError where one cannot be found, or several may be meant.
    """
    others = [column for column in columns if column]
    if wanted and len(wanted) != len(task.sheet_columns):
        both = " and ".join(f"--label-column {name.upper()}" for name in task.sheet_columns)
        raise SheetError(f"{table.absolute()}: the labels of {task.name} are {len(task.sheet_columns)}: name {both}")
    if wanted:
        return {
            name: _named_column(table, others, column) for name, column in zip(task.sheet_columns, wanted, strict=True)
        }
    if isinstance(task, Survival):
        return {name: _survival_column(table, others, name) for name in task.sheet_columns}
    return {"label": _label_column(table, others, rows, task)}


def _named_column(table: Path, columns: Sequence[str], wanted: str) -> str:
    if same := [column for column in columns if column.casefold() == wanted.strip().casefold()]:
        return same[0]
    close = get_close_matches(wanted, columns, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; it has {', '.join(columns)}"
    raise SheetError(f"{table.absolute()}: no column {wanted!r} for labels{hint}")


def _survival_column(table: Path, columns: Sequence[str], name: str) -> str:
    """The column `time` or `event`, by this name or the only one whose name says so."""
    likely = _survival_columns(columns, name)
    if len(likely) == 1:
        return likely[0]
    problem = f"which column has the {name}: {', '.join(likely)}" if likely else f"no column has the {name}"
    raise SheetError(
        f"{table.absolute()}: {problem}? Name both, with --label-column TIME --label-column EVENT: {', '.join(columns)}"
    )


def _survival_columns(columns: Sequence[str], name: str) -> list[str]:
    plain = {column: re.sub(r"[\W_]", "", column).casefold() for column in columns}
    exact = [column for column in columns if plain[column] == name]
    return exact[:1] or [column for column in columns if SURVIVAL_SYNONYMS[name].fullmatch(plain[column])]


def _label_column(table: Path, columns: Sequence[str], rows: Rows, task: Task) -> str:
    plain = {re.sub(r"[\W_]", "", column).casefold(): column for column in reversed(columns)}
    for name in LABEL_NAMES:
        if name in plain:
            return plain[name]
    patient = patient_column(columns)
    values = {c: {row[c] for row in rows} - {""} for c in columns if c not in (*CARRIED, "path", "note", patient)}
    if isinstance(task, Classification):
        likely = [name for name, found in values.items() if 2 <= len(found) <= min(MOST_CLASSES, len(rows) / 2)]
    else:
        likely = [name for name, found in values.items() if found and all(_is_number(task, cell) for cell in found)]
    if len(likely) == 1:
        return likely[0]
    given = "; ".join(f"{c} ({join_some(sorted(values[c]), 3)})" for c in likely or values) or "no other column"
    survival = all(len(_survival_columns(columns, name)) for name in Survival.sheet_columns)
    hint = ". For a time and an event add --task survival" if survival else ""
    raise SheetError(f"{table.absolute()}: which column has the labels? Name it with --label-column: {given}{hint}")


def _is_number(task: Task, cell: str) -> bool:
    try:
        task.check(cell)
    except SheetError:
        return cell.casefold() in UNKNOWN
    return True


def label_cells(row: dict[str, str], columns: dict[str, str]) -> dict[str, str]:
    """A row's cells by column of the slide sheet: all blank where one is unknown, and events as 1 or 0."""
    cells = {name: "" if row[column].casefold() in UNKNOWN else row[column] for name, column in columns.items()}
    if not all(cells.values()):
        return dict.fromkeys(cells, "")
    if "event" in cells:
        event = CBIOPORTAL.sub(r"\1", cells["event"])
        cells["event"] = EVENT_WORDS.get(event.casefold(), event)
    return cells


def class_names(labels: Iterable[str]) -> dict[str, str]:
    """By label as written the name of its class: of spellings that differ in case, spaces, ... the most frequent."""
    counts = Counter(filter(None, labels))
    spellings: dict[str, list[str]] = defaultdict(list)
    for cell in sorted(counts, key=lambda cell: (-counts[cell], cell)):
        sign = cell[-1] if cell[-1] in SIGNS else ""
        spellings[comparable(cell) + sign].append(cell)
    names: dict[str, str] = {}
    for first, *others in spellings.values():
        name = plain = usable_id(first[:-1] + SIGNS[first[-1]] if first[-1] in SIGNS else first)
        number = 2
        while name in names.values():
            name, number = f"{plain}_{number}", number + 1
        names |= dict.fromkeys([first, *others], name)
    return names
