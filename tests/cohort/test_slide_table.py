from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort import slide_table
from roformermil.cohort.slide_table import SlideRecord, read_slide_table, run_stage
from roformermil.errors import SlideError, Status, TooManyFailedError
from roformermil.runtime.records import write_records

CHANGES = {"a": {}, "b": {"sheet_mpp": 0.25}, "c": {"status": "unreadable"}}
RECORDS = [SlideRecord(name, Path(f"{name}.svs"), **changes) for name, changes in CHANGES.items()]


def work(record):
    if record.slide_id == "b":
        raise SlideError(Status.NO_MPP, "b.svs: no resolution, no scanner")
    return {"tiles": 12, "mpp": 0.5}


def test_a_bad_slide_is_a_record_the_others_are_processed_and_the_table_is_read_as_written(tmp_path):
    a, b, c = records = run_stage("tile", RECORDS, work, progress=False)
    assert (a.status, a.tiles, a.mpp) == ("ok", 12, 0.5)
    assert (b.status, b.stage, b.tiles) == ("no_mpp", "tile", None)
    assert c == RECORDS[2], "what failed before is passed on untouched"
    write_records(tmp_path / "t.csv", records)
    assert read_slide_table(tmp_path / "t.csv") == records


def test_an_error_that_is_not_about_a_slide_is_raised():
    with pytest.raises(OSError, match="disk full"):
        run_stage("tile", RECORDS, lambda record: (_ for _ in ()).throw(OSError("disk full")), progress=False)


def test_slides_csv_does_not_change_with_the_clock(tmp_path):
    for k in range(2):
        slide_table.write_slides_csv(tmp_path / f"{k}.csv", [replace(record, seconds=float(k)) for record in RECORDS])
    assert (tmp_path / "0.csv").read_text() == (tmp_path / "1.csv").read_text()
    assert read_slide_table(tmp_path / "1.csv") == RECORDS


def test_lost_slides_are_counted_and_too_many_are_an_error(tmp_path):
    records = run_stage("tile", RECORDS, work, progress=False)
    assert slide_table.attrition_summary(records) == "1 of 3 slides, 2 lost (1 no_mpp, 1 unreadable)"
    excluded = SlideRecord("d", Path("d.svs"), status="excluded", message="a duplicate")
    assert slide_table.attrition_summary([records[0], excluded]) == "1 of 2 slides, 1 excluded by the slide sheet"
    slide_table.check_failed_fraction(records, 0.7, tmp_path / "d/slides.csv")
    message = r"(?s)d: 1 of 3.*b: no_mpp in tile: b.svs: no resolution.*c: unread"
    with pytest.raises(TooManyFailedError, match=message) as error:
        slide_table.check_failed_fraction(records, 0.5, tmp_path / "d/slides.csv")
    assert error.value.status == "too_many_failed"
    assert len(read_slide_table(tmp_path / "d/slides_failed.csv")) == 3
