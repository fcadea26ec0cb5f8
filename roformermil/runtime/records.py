"""Dataclasses as rows of a CSV file, one column per field, and back."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from roformermil.runtime.files import write_text

T = TypeVar("T")


def read_records(path: Path, kind: type[T]) -> list[T]:
    """The rows of a CSV file as dataclasses of a `kind`. An empty cell of a field that may be None is None.

    Columns of fields with a default may be missing; other columns are ignored. Raises ValueError for a missing column, a row
    with too few or too many cells, or a cell that is not of its field's type.
    """
    types = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    required = {field.name for field in fields(kind) if field.default is MISSING}  # type: ignore[arg-type]
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns, rows = set(reader.fieldnames or ()), list(reader)
    if missing := sorted(required - columns):
        raise ValueError(f"{path}: lacks the columns {', '.join(missing)}")
    if any(None in row or None in row.values() for row in rows):
        raise ValueError(f"{path}: a row has fewer or more cells than the header")
    return [kind(**{name: _parse(row[name], types[name]) for name in types if name in row}) for row in rows]


def write_records(path: Path, records: Sequence[Any], exclude: frozenset[str] = frozenset()) -> None:
    """Write dataclasses of one kind as CSV, atomically, without the fields in `exclude`."""
    write_rows(path, [{name: v for name, v in asdict(record).items() if name not in exclude} for record in records])


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Write dictionaries with the same keys as CSV, atomically; None is an empty cell.

    columns: needed where there may be no row; by default the keys of the first.
    """
    write_text(path, _rows_text(rows, columns or list(rows[0])))


def records_text(records: Sequence[Any], columns: Sequence[str]) -> str:
    """Dataclasses of one kind as the text of a CSV file, with these of their fields."""
    return _rows_text([{name: getattr(record, name) for name in columns} for record in records], columns)


def _rows_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _parse(text: str, annotation: Any) -> Any:
    if get_origin(annotation) is UnionType:  # `T | None`
        if text == "":
            return None
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    return annotation(text)
