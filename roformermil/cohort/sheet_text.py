"""The text of a slide sheet: its columns and rows, or what the file is instead of comma-separated UTF-8 text."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from roformermil.errors import SheetError
from roformermil.runtime.spelling import one_typo_apart

REQUIRED, OPTIONAL = ("slide_id", "path"), ("patient_id", "label", "mpp", "tissue", "exclude", "site", "note")
MPP_SYNONYM = re.compile("mpp|(um|microns?|micromet(re|er)s?)per(px|pixel)")  # at the start of a column's name
PATIENT_SYNONYM = re.compile(
    "(patient|case|subject|participant|donor)s?(submitter)?(id|no|nr|number|code|name|barcode)?"
)
OUTCOME = "(os|pfs|dfs|dss|dfi|pfi|rfs|ttp|overallsurvival|survival)"
SURVIVAL_SYNONYMS = {
    "time": re.compile(
        f"{OUTCOME}?(time|days|months|years)(in)?(days|months|years)?|(days|time)to(event|death)|followup"
    ),
    "event": re.compile(f"{OUTCOME}?(event|status)|vitalstatus|death|dead|{OUTCOME}"),
}
NEVER = re.compile("(?!)")
AS_CSV = "save it as CSV UTF-8 (comma delimited)"
# The start of files that are not text, what they are and what to do. A zip is told apart by the names of its files.
SIGNATURES = (
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)", f"open it in Excel or LibreOffice and {AS_CSV}"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it with gunzip"),
    (b"%PDF", "a PDF", "export the table as CSV"),
    (b"PAR1", "a Parquet file", "write it as CSV"),
    (b"version https://git-lfs", "a pointer of Git LFS to the real file", "fetch that: git lfs pull"),
    (b"<", "an HTML or XML page", "download the CSV file itself"),
)
WORKBOOKS = ((b"xl/workbook", "an Excel workbook (.xlsx)"), (b"opendocument", "an OpenDocument spreadsheet (.ods)"))
SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "'|'", " ": "spaces"}


def read_table(sheet: Path, label_columns: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The cells of the header, and those of each row that is not blank with its line number; no spaces around cells.

    label_columns: those that give a label, of which a sheet has all or none. Raises SheetError for a file that is not comma-separated UTF-8 text with a header, and for missing or misspelt columns.
    """
    text = read_text(sheet)
    _check_separator(text, sheet)
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise SheetError(f"{sheet}, row {reader.line_num}: {error}") from error
    if rows and "\n" in rows[-1][1][-1].strip() and not text.rstrip().endswith('"'):
        first = rows[-2][0] + 1 if rows[1:] else 1
        raise SheetError(f'{sheet}, row {first}: a quote (") is not closed, so all rows below it are one cell')
    rows = [(number, [cell.strip() for cell in cells]) for number, cells in rows]
    if not rows:
        raise SheetError(f"{sheet}: the slide sheet is empty")
    (_, columns), *lines = rows
    if not _count_known(columns):
        expected, given = ", ".join(REQUIRED), ",".join(columns)
        raise SheetError(f"{sheet}: the first row must name the columns ({expected}), but it is {given!r}")
    _check_columns(sheet, columns, label_columns)
    return columns, lines


def read_text(table: Path, kind: str = "slide sheet") -> str:
    """The text of a table that a person made. Raises SheetError, which names its kind, where it is not UTF-8 text."""
    return _decode(_read_bytes(table, kind), table, kind)


def patient_column(columns: Iterable[str]) -> str | None:
    """The first column that by its name has patients."""
    return next((column for column in columns if PATIENT_SYNONYM.fullmatch(plain_name(column))), None)


def plain_name(name: str) -> str:
    """A column's name without case, spaces, hyphens and underscores."""
    return re.sub(r"[\W_]", "", name).casefold()


def _count_known(columns: Iterable[str]) -> int:
    return len({plain_name(column) for column in columns} & {plain_name(column) for column in REQUIRED + OPTIONAL})


def _check_separator(text: str, sheet: Path) -> None:
    """Raises SheetError where the header is separated by anything but commas."""
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    if header.lower().startswith("sep="):
        raise SheetError(f"{sheet}: the first line, {header!r}, is an instruction to Excel: remove it, and {AS_CSV}")
    if _count_known(header.split(",")) > 1:
        return
    for separator, name in SEPARATORS.items():
        if _count_known(header.split(separator)) > 1:
            raise SheetError(f"{sheet}: its cells are separated by {name}, not commas: {AS_CSV}")


def _check_columns(sheet: Path, columns: list[str], label_columns: Sequence[str]) -> None:
    """Raises SheetError for missing, duplicate and misspelt columns. Others are the user's own."""
    known = tuple(dict.fromkeys([*REQUIRED, *OPTIONAL, *label_columns]))
    meant = {column: target for column in columns if (target := meant_column(column, columns, known))}
    mistakes = [f"column {column!r}: did you mean {target!r}? Rename it" for column, target in meant.items()]
    counts = Counter(columns)
    mistakes += [f"duplicate column {column!r}" for column in known if counts[column] > 1]
    for column in REQUIRED:
        if column not in (*columns, *meant.values()):
            others = {plain_name(other): other for other in columns if other not in known}
            close = get_close_matches(plain_name(column), others, n=1, cutoff=0.65)
            hint = f": is it your column {others[close[0]]!r}?" if close else ""
            mistakes.append(f"no column {column!r}{hint}")
    if "patient_id" not in (*columns, *meant.values()) and (given := patient_column(columns)):
        remedy = "Rename it, or add patient_id; else slides of one patient may train and test a model"
        mistakes.append(f"no column 'patient_id': is it your column {given!r}? {remedy}")
    if absent := [column for column in label_columns if column not in (*columns, *meant.values())]:
        mistakes += _missing_labels(absent, columns, label_columns)
    if mistakes:
        optional = ", ".join(column for column in known if column not in REQUIRED)
        rule = f"Required are {', '.join(REQUIRED)}; optional {optional}; others are ignored"
        raise SheetError("\n".join(f"{sheet}: {mistake}" for mistake in mistakes) + f". {rule}")


def _missing_labels(absent: Sequence[str], columns: Sequence[str], label_columns: Sequence[str]) -> list[str]:
    """What is wrong where a sheet has some of several columns that give the label, or has them under other names."""
    mistakes = []
    for column in absent:
        named = [other for other in columns if SURVIVAL_SYNONYMS.get(column, NEVER).fullmatch(plain_name(other))]
        if named:
            mistakes.append(f"no column {column!r}: is it your column {named[0]!r}? Rename it")
        elif len(absent) < len(label_columns):
            mistakes.append(f"no column {column!r}, which a label needs beside the others: {', '.join(label_columns)}")
    return mistakes


def meant_column(column: str, columns: Sequence[str], known: Sequence[str]) -> str | None:
    """The column that `column` is a misspelt name of, if any. Short names are too like other words, such as side, to tell."""
    name = plain_name(column)
    for target in known:
        if column in known:
            return None
        word = plain_name(target)
        typo = len(word) >= 5 and name[:1] == word[0] and one_typo_apart(name, word)
        if name == word or (target not in columns and (typo or (target == "mpp" and MPP_SYNONYM.match(name)))):
            return target
    return None


def _read_bytes(sheet: Path, kind: str) -> bytes:
    try:
        return sheet.read_bytes()
    except FileNotFoundError as error:
        is_demo = sheet.parts[-2:] == ("demo", "slides.csv")
        hint = f"; `roformermil demo-slides {sheet.parent}` writes the demo's" if is_demo else ""
        raise SheetError(f"{sheet}: no such {kind}{hint}") from error
    except OSError as error:
        raise SheetError(f"{sheet}: the {kind} cannot be read: {error.strerror}") from error


def _decode(data: bytes, sheet: Path, name: str) -> str:
    for signature, kind, remedy in SIGNATURES:
        if data.lstrip().startswith(signature):
            for inside, workbook in WORKBOOKS:
                if signature.startswith(b"PK") and inside in data:
                    kind, remedy = workbook, f"open it in Excel or LibreOffice and {AS_CSV}"
            raise SheetError(f"{sheet}: the {name} is {kind}, not CSV text: {remedy}")
    zeros = data[:1000].count(0)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or zeros > len(data[:1000]) / 4:
        raise SheetError(f'{sheet}: the {name} is UTF-16 text ("Unicode Text" in Excel), not UTF-8: {AS_CSV}')
    if zeros:
        raise SheetError(f"{sheet}: the {name} is a binary file, not CSV text: {AS_CSV}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        line = data.splitlines()[row - 1].decode("cp1252", "replace")
        problem = f"not UTF-8 text but perhaps Windows-1252 (Latin-1), in which its row {row} is {line!r}"
        raise SheetError(f"{sheet}: the {name} is {problem}: {AS_CSV}") from error
