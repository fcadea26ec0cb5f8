"""A table that a person made, with labels or more: a CSV file or an Excel workbook, as text."""

import csv
import io
from collections import Counter
from pathlib import Path

from roformermil.cohort.sheet_text import read_text
from roformermil.errors import SheetError

WORKBOOKS = (".xlsx", ".xlsm")
SEPARATORS = ",;\t|"


def read_cells(table: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The columns of a table that has a header, and its rows without blank ones. Raises SheetError, also where two columns have one
    name or a row has more cells than the header: some would be lost."""
    lines = _read_workbook(table) if table.suffix.lower() in WORKBOOKS else _read_delimited(table)
    lines = [[cell.strip() for cell in cells] for cells in lines if any(map(str.strip, cells))]
    if len(lines) < 2:
        raise SheetError(f"{table.absolute()}: needs a header that names its columns, and rows")
    columns, rows = lines[0], lines[1:]
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise SheetError(f"{table.absolute()}: several columns are called {twice[0]!r}: rename all but one")
    for cells in rows:
        if any(cells[len(columns) :]):
            raise SheetError(
                f"{table.absolute()}: the row of {cells[0]!r} has {len(cells)} cells, but the header has {len(columns)}: "
                "quote cells that contain a comma, and write decimals with a point"
            )
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
