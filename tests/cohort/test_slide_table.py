from dataclasses import replace

import pytest

from roformermil.cohort.slide_table import (
    SlideRecord,
    attrition_summary,
    check_failed_fraction,
    read_slide_table,
    run_stage,
    write_slide_table,
    write_slides_csv,
)
from roformermil.errors import SlideError, Status, TooManyFailedError

ROWS = [
    SlideRecord("a", "a.svs"),
    SlideRecord("b", "b.svs", sheet_mpp=0.25),
    SlideRecord("c", "c.svs", status="unreadable"),
]


def work(row):
    if row.slide_id == "b":
        raise SlideError(Status.NO_MPP, "b.svs: does not say, although asked")
    return {"tiles": 12, "mpp": 0.5}


def test_a_bad_slide_is_a_row_and_the_others_go_on():
    a, b, c = run_stage("tile", ROWS, work, progress=False)
    assert (a.status, a.tiles, a.mpp) == ("ok", 12, 0.5)
    assert (b.status, b.stage, b.tiles) == ("no_mpp", "tile", None)
    assert c == ROWS[2], "what failed before is passed on untouched"


def test_an_error_that_is_not_the_slides_fault_passes():
    with pytest.raises(OSError, match="disk full"):
        run_stage("tile", ROWS, lambda row: (_ for _ in ()).throw(OSError("disk full")), progress=False)


def test_tables_survive_the_disk(tmp_path):
    rows = run_stage("tile", ROWS, work, progress=False)
    write_slide_table(tmp_path / "t.csv", rows)
    assert read_slide_table(tmp_path / "t.csv") == rows


def test_slides_csv_does_not_change_with_the_clock(tmp_path):
    for k in range(2):
        write_slides_csv(tmp_path / f"{k}.csv", [replace(row, seconds=float(k)) for row in ROWS])
    assert (tmp_path / "0.csv").read_text() == (tmp_path / "1.csv").read_text()
    assert read_slide_table(tmp_path / "1.csv") == ROWS


def test_attrition_counts_and_stops(tmp_path):
    rows = run_stage("tile", ROWS, work, progress=False)
    assert attrition_summary(rows) == "1 of 3 slides, 2 missing (1 no_mpp, 1 unreadable)"
    excluded = SlideRecord("d", "d.svs", status="excluded", message="a duplicate")
    assert attrition_summary([rows[0], excluded]) == "1 of 2 slides, 1 excluded by the sheet"
    check_failed_fraction(rows, 0.7, tmp_path / "d/slides.csv")
    with pytest.raises(
        TooManyFailedError, match=r"(?s)d: 1 of 3.*b: no_mpp in tile: b.svs: does not say.*c: unread"
    ) as e:
        check_failed_fraction(rows, 0.5, tmp_path / "d/slides.csv")
    assert e.value.status == "too_many_failed"
    assert len(read_slide_table(tmp_path / "d/slides_failed.csv")) == 3
