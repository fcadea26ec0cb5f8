from dataclasses import dataclass
from pathlib import Path

import pytest

from roformermil.runtime.records import read_records, write_records, write_rows


@dataclass(frozen=True)
class Record:
    name: str
    path: Path
    count: int | None = None
    mpp: float = 0.5


RECORDS = [Record('a "quoted, name"', Path("x y.svs"), 3, 0.1 + 0.2), Record("ü\nsecond line", Path("b"))]
UNSUITABLE = [
    ("name,count\na,1\n", "lacks the columns path"),
    ("", "lacks the columns name, path"),
    ("name,path,count\na,b,three\n", "three"),
    ("name,path,count\na,b\n", "fewer or more cells"),
    ("name,path,count\na,b,1,2\n", "fewer or more cells"),
]


def test_records_are_read_as_they_were_written(tmp_path):
    write_records(tmp_path / "t.csv", RECORDS)
    assert read_records(tmp_path / "t.csv", Record) == RECORDS
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").startswith("name,path,count,mpp\n")


def test_excluded_fields_are_not_written_and_have_their_default(tmp_path):
    write_records(tmp_path / "t.csv", RECORDS[:1], exclude=frozenset({"mpp"}))
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "name,path,count"
    assert read_records(tmp_path / "t.csv", Record)[0].mpp == 0.5


def test_other_columns_and_a_byte_order_mark_are_ignored(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffname,note,path\na,x,b\n", encoding="utf-8")
    assert read_records(tmp_path / "t.csv", Record) == [Record("a", Path("b"))]


@pytest.mark.parametrize(("text", "message"), UNSUITABLE)
def test_a_table_that_does_not_fit_is_an_error(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_records(tmp_path / "t.csv", Record)


def test_rows_are_written_with_none_as_an_empty_cell(tmp_path):
    write_rows(tmp_path / "t.csv", [{"a": 1, "b": None}, {"a": 0.1, "b": "x"}])
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,\n0.1,x\n"
