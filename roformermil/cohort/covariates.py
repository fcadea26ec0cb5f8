"""The covariates of slides: columns of the slide sheet, and the table `covariates.csv` of a data set."""

import csv
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from roformermil.cohort.sheet_text import read_table
from roformermil.cohort.slide_sheet import UNKNOWN
from roformermil.errors import SheetError
from roformermil.runtime.records import write_rows
from roformermil.runtime.spelling import comparable

FILE = "covariates.csv"
Cells = Mapping[str, str]  # of a slide or a patient, by column; "" where the value is missing


def read_covariates(
    sheet: Path, names: Sequence[str], listed: Sequence[str] | None = None
) -> dict[str, dict[str, str]]:
    """The cells of these columns of a slide sheet by slide_id: as text, "" where a cell is empty or a word such as `unknown`.

    listed: of these slides, by default of all. Raises SheetError for a column that is missing or that occurs twice.
    """
    sheet = sheet.absolute()
    columns, rows = read_table(sheet)
    check_columns(sheet, columns, names)
    identifier, places = columns.index("slide_id"), [columns.index(name) for name in names]
    table = {
        cells[identifier]: dict(zip(names, (_clean(cells[place]) for place in places), strict=True))
        for _, cells in rows
        if len(cells) >= len(columns)
    }
    return table if listed is None else {slide_id: table[slide_id] for slide_id in listed}


def check_columns(sheet: Path, columns: Sequence[str], names: Sequence[str]) -> None:
    """Raises SheetError for covariates that are not columns of the slide sheet, or that occur twice."""
    known, mistakes = {comparable(column): column for column in columns}, []
    for name in names:
        if columns.count(name) > 1:
            mistakes.append(f"{sheet}: duplicate column {name!r}, a covariate")
        elif name not in columns:
            close = get_close_matches(comparable(name), known, n=1, cutoff=0.8)
            remedy = (
                f"did you mean {known[close[0]]!r}?" if close else "add it (cells may be empty), or train without it"
            )
            mistakes.append(f"{sheet}: no column {name!r}, a covariate: {remedy}")
    if mistakes:
        raise SheetError("\n".join(mistakes))


def write_covariates(path: Path, table: Mapping[str, Cells], names: Sequence[str]) -> None:
    """Write `slide_id` and the covariates as text."""
    write_rows(path, [{"slide_id": slide_id, **cells} for slide_id, cells in table.items()], ["slide_id", *names])


def read_covariate_table(path: Path) -> dict[str, dict[str, str]]:
    """The cells by slide_id, from a file that `write_covariates` wrote. Raises SheetError for another file."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return {row.pop("slide_id"): row for row in csv.DictReader(file)}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise SheetError(f"{path.absolute()}: not a table of covariates as `split` writes it ({error!r})") from error


def is_number(text: str) -> bool:
    """Whether the text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _clean(cell: str) -> str:
    return "" if cell.lower() in UNKNOWN else cell
