"""Which columns of a table have the labels of a task, however they are called, and what their cells mean."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from roformermil.cohort.sheet_text import SURVIVAL_SYNONYMS, patient_column, plain_name
from roformermil.cohort.slide_sheet import UNKNOWN
from roformermil.errors import SheetError
from roformermil.project.slide_names import usable_id
from roformermil.runtime.spelling import comparable
from roformermil.runtime.text import join_some, plural
from roformermil.tasks import Classification, Survival, Task

Row = Mapping[str, str]
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
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
UNITS = ("days", "months", "years")  # names of columns of a time, or of an age
UNTIL_EVENT = re.compile("(time|days|months|years)to(event|death)")  # blank for those without an event
FOLLOW_UP = re.compile("(time|days|months|years)to(last)?(followup|contact)")
EVENT_WORDS = dict.fromkeys(("dead", "deceased", "died", "yes", "y", "true"), "1")
EVENT_WORDS |= dict.fromkeys(("alive", "living", "censored", "no", "n", "false"), "0")
CBIOPORTAL = re.compile(r"([01]):.*")  # its tables write 1:DECEASED and 0:LIVING, 1:PROGRESSION and 0:CENSORED


@dataclass(frozen=True)
class LabelColumns:
    """The columns of a table that have the labels of a task."""

    names: dict[str, str]  # by column of the slide sheet
    follow_up: str = ""  # the time of those without an event, where that is a column of its own

    def __str__(self) -> str:
        parts = [
            f"{'labels are' if name == 'label' else f'{name} is'} column {of!r}" for name, of in self.names.items()
        ]
        return " and ".join(parts) + (f" (without an event {self.follow_up!r})" if self.follow_up else "")

    def cells(self, row: Row) -> dict[str, str]:
        """A row's cells by column of the slide sheet: unknown ones blank, and events as 1 or 0."""
        cells = {name: _known(row[column]) for name, column in self.names.items()}
        if "event" in cells:
            cells["event"] = _event(cells["event"])
            if self.follow_up and cells["event"] == "0":
                cells["time"] = cells["time"] or _known(row[self.follow_up])
        return cells


def find_label_columns(
    table: Path, columns: Sequence[str], rows: Sequence[Row], task: Task, wanted: Sequence[str] = ()
) -> LabelColumns:
    """The table's column for each of the task's columns of the slide sheet.

    columns: those that may have labels; wanted: those that the user names, in the order of `Task.sheet_columns`. Raises
    SheetError where one cannot be found, or several may be meant.
    """
    others, needed = [column for column in columns if column], task.sheet_columns
    if wanted and (len(wanted) != len(needed) or len(set(wanted)) != len(wanted)):
        expected = " ".join(f"--label-column {name.upper()}" for name in needed)
        hint = "; for a time and an event add --task survival" if len(wanted) == 2 and len(needed) == 1 else ""
        raise SheetError(f"{table.absolute()}: --task {task.name} takes {expected}, not {' '.join(wanted)}{hint}")
    if wanted:
        names = {name: _named_column(table, others, column) for name, column in zip(needed, wanted, strict=True)}
    elif isinstance(task, Survival):
        names = {name: _survival_column(table, others, name) for name in needed}
    else:
        names = {"label": _label_column(table, others, rows, task)}
    until_event = "time" in names and UNTIL_EVENT.fullmatch(plain_name(names["time"]))
    follow_up = [column for column in others if until_event and FOLLOW_UP.fullmatch(plain_name(column))]
    return LabelColumns(names, follow_up[0] if len(follow_up) == 1 else "")


def check_labels(table: Path, columns: LabelColumns, cells: Sequence[Row], task: Task) -> None:
    """Raises SheetError where labels can be read, but would not mean what they should.

    cells: of rows that name slides, as of `LabelColumns.cells`.
    """
    if isinstance(task, Classification):
        labels = [row["label"] for row in cells if row["label"]]
        odd = [label for label in labels if NUMBER.fullmatch(label) and (float(label) < 0 or float(label) % 1)]
        if odd and all(map(NUMBER.fullmatch, labels)):
            column = f"column {columns.names['label']!r} has numbers, such as {odd[0]}"
            raise SheetError(f"{table.absolute()}: {column}: add --task regression, or write classes as words")
    if isinstance(task, Survival):
        censored = [row for row in cells if row["event"] == "0"]
        if censored and not any(row["time"] for row in censored):
            count = f"{plural(len(censored), 'row')} without an event, none of which has a time"
            raise SheetError(
                f"{table.absolute()}: {count} in column {columns.names['time']!r}: only those with an event would be left. Write "
                "the time of their last follow-up there, or name the column that has both with --label-column TIME --label-column EVENT"
            )


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
    if likely:
        problem = f"which column has the {name}: {', '.join(likely)}? Name both"
    else:
        problem = f"no column has the {name}. Add columns time and event, or name those that have them"
    given = f"the table has {', '.join(columns)}"
    raise SheetError(f"{table.absolute()}: {problem}, with --label-column TIME --label-column EVENT; {given}")


def _survival_columns(columns: Sequence[str], name: str) -> list[str]:
    plain = {column: plain_name(column) for column in columns}
    exact = [column for column in columns if plain[column] == name]
    alike = [column for column in columns if SURVIVAL_SYNONYMS[name].fullmatch(plain[column])]
    return exact[:1] or [column for column in alike if plain[column] not in UNITS]


def _label_column(table: Path, columns: Sequence[str], rows: Sequence[Row], task: Task) -> str:
    plain = {plain_name(column): column for column in reversed(columns)}
    has_survival = all(_survival_columns(columns, name) for name in Survival.sheet_columns)
    if "label" not in plain and set(Survival.sheet_columns) <= set(plain):
        problem = f"has columns {' and '.join(Survival.sheet_columns)}, but no label"
        raise SheetError(f"{table.absolute()}: {problem}: add --task survival, or name another with --label-column")
    for name in LABEL_NAMES:
        if name in plain and (name == "label" or _may_be_labels(task, [row[plain[name]] for row in rows])):
            return plain[name]
    patient = patient_column(columns)
    values = {c: {row[c] for row in rows} - {""} for c in columns if c not in (*CARRIED, "path", "note", patient)}
    if isinstance(task, Classification):
        likely = [name for name, found in values.items() if 2 <= len(found) <= min(MOST_CLASSES, len(rows) / 2)]
    else:
        likely = [name for name, found in values.items() if found and _may_be_labels(task, found)]
    if len(likely) == 1:
        return likely[0]
    given = "; ".join(f"{c} ({join_some(sorted(values[c]), 3)})" for c in likely or values) or "no other column"
    hint = ". For a time and an event add --task survival" if has_survival else ""
    raise SheetError(f"{table.absolute()}: which column has the labels? Name it with --label-column: {given}{hint}")


def _may_be_labels(task: Task, cells: Iterable[str]) -> bool:
    try:
        for cell in filter(None, map(_known, cells)):
            task.check(cell)
    except SheetError:
        return False
    return True


def _known(cell: str) -> str:
    return "" if cell.casefold() in UNKNOWN else cell


def _event(cell: str) -> str:
    """1 or 0 where the cell is another way to write these, else the cell."""
    if match := CBIOPORTAL.fullmatch(cell):
        return match[1]
    return EVENT_WORDS.get(cell.casefold(), re.sub(r"^([01])\.0+$", r"\1", cell))


def class_names(labels: Iterable[str]) -> dict[str, str]:
    """By label as written the name of its class: of spellings that differ in case, spaces, ... the most frequent."""
    counts = Counter(labels)
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
