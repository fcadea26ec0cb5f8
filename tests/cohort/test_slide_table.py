from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort import slide_table
from roformermil.cohort.slide_table import SlideRecord, read_slide_table, run_stage
from roformermil.errors import SlideError, Status, TooManyFailedError
from roformermil.runtime import memory
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
        slide_table.write_slides_csv(
            tmp_path / f"{k}.csv", [replace(record, seconds=float(k), modified=k) for record in RECORDS]
        )
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
    slide_table.check_failed_fraction(records, 0.7, tmp_path / "d/slides.csv")  # as each planning does
    assert (tmp_path / "d/slides_failed.csv").exists()


def test_features_of_several_widths_or_models_are_named_with_their_slides():
    fields = [{"values": 32, "extractor": "uni"}] * 5 + [{}, {"values": 48, "extractor": "ctp"}]
    records = [SlideRecord(f"s{k}", Path(f"s{k}.h5"), **fields[k]) for k in range(7)]
    lost = replace(records[-1], slide_id="lost", status="unreadable")
    assert slide_table.mixed_widths([*records[:-1], lost]) == slide_table.mixed_extractors([*records[:-1], lost]) == ""
    error = slide_table.mixed_widths(reversed(records))
    assert error.startswith(
        "features differ in their number of values per tile: 32 in 5 slides, 48 in s6; use files of"
    )
    assert slide_table.mixed_extractors(records).endswith(
        "different models, as their files state: uni in 5 slides, ctp in s6"
    )
    two = slide_table.mixed_widths([records[0], records[-1]])
    assert "32 in s0, 48 in s6" in two


def test_a_slide_that_needs_more_memory_than_its_part_is_tried_once_more_alone():
    memory.share_memory(8500, readers=4)
    given = []

    def read(record):
        given.append((record.slide_id, memory.reader_memory() // 10**6))
        if memory.reader_memory() < {"a": 3000, "b": 9000}[record.slide_id] * 10**6:
            raise SlideError(Status.OUT_OF_MEMORY, "too much")
        return {"tiles": 1}

    a, b, _ = run_stage("segment", RECORDS, read, progress=False)
    assert given == [("a", 2000), ("b", 2000), ("a", 8000), ("b", 8000)]
    assert (a.status, a.tiles, b.status, b.stage) == ("ok", 1, "out_of_memory", "segment")


def test_the_log_of_a_stage_has_what_is_odd_about_a_slide_without_the_remedies(caplog):
    odd = "a level is wrong; 54% of the border is tissue: look at the outline. Then set a method"
    (record,) = run_stage(
        "segment", [SlideRecord("s", Path("s.svs"))], lambda record: {"warnings": odd}, progress=False
    )
    assert record.warnings == odd
    assert caplog.messages == ["s: a level is wrong; 54% of the border is tissue"]
