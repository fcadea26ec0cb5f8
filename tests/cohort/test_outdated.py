import os
from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort import outdated
from roformermil.cohort.outdated import reasons_to_list_again, reasons_to_repeat, settings_digest
from roformermil.cohort.slide_files import content_id, file_state
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import Status
from roformermil.runtime.records import write_records


@pytest.fixture
def batch(tmp_path):
    """Four slides of a batch, and what writes a first stage's table of them: by default all are `ok`."""
    paths = [tmp_path / f"{name}.svs" for name in "abcd"]
    for path in paths:
        path.write_text(path.stem)

    def write(**changes):
        records = [SlideRecord(path.stem, path, 0.5, content=content_id(path), **file_state(path)) for path in paths]
        write_records(tmp_path / "table.csv", [replace(record, **changes) for record in records])
        return paths, tmp_path / "table.csv"

    return write


def slides_of(paths):
    return [Slide(path.stem, "p", "label", path, 0.5) for path in paths]


def replace_with_older(path, text="other"):
    path.write_text(text)
    os.utime(path, (10**9, 10**9))


def put_back_with_an_older_date(path):
    os.utime(path, (10**9, 10**9))


def replace_same_size(path):
    replace_with_older(path, "x")


CHANGES = {
    "touched": (Path.touch, False),
    "copied with an older date": (put_back_with_an_older_date, False),
    "replaced with an older date": (replace_with_older, True),
    "replaced with an older date and the same size": (replace_same_size, True),
    "deleted after the run": (Path.unlink, False),
    "now a folder that cannot be read as a file": (lambda path: (path.unlink(), path.mkdir()), True),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_slide_with_other_content_is_noticed_whatever_its_date(batch, change):
    edit, is_reason = CHANGES[change]
    paths, table = batch()
    assert list(reasons_to_repeat(table, "segment", slides=slides_of(paths))) == []
    edit(paths[1])
    expected = ["b: its file changed"] if is_reason else []
    assert list(reasons_to_repeat(table, "segment", slides=slides_of(paths))) == expected
    assert list(reasons_to_repeat(table, "tile")) == []


def test_content_is_read_only_where_size_or_date_differ(batch, monkeypatch):
    paths, table = batch()
    read = []
    monkeypatch.setattr(outdated, "content_id", lambda path: read.append(path) or "another")
    paths[2].touch()
    assert len(list(reasons_to_repeat(table, "segment", slides=slides_of(paths)))) == 1 and read == [paths[2]]


def test_a_slide_whose_content_could_not_be_read_is_noticed_once_it_can(batch):
    paths, table = batch(status="unreadable", stage="segment", content="")  # chmod changes neither size nor date
    assert len(list(reasons_to_repeat(table, "segment", slides=slides_of(paths)))) == 4
    paths[0].unlink()
    assert len(list(reasons_to_repeat(table, "segment", slides=slides_of(paths)))) == 3


@pytest.mark.parametrize("status", Status)
def test_transient_failures_are_tried_again_by_their_stage(batch, status):
    paths, table = batch(status=status, stage="embed")
    is_transient = status in ("missing", "timed_out", "crashed", "changed", "out_of_memory")
    for stage, count in (("embed", 4), ("tile", 0)):
        assert len(list(reasons_to_repeat(table, stage))) == count * is_transient
    paths[0].unlink()
    assert len(list(reasons_to_repeat(table, "embed"))) == 3 * is_transient


def test_a_damaged_table_is_a_reason_and_an_absent_one_is_not(tmp_path):
    (tmp_path / "cut.csv").write_text("slide_id,pa")
    assert "damaged" in next(reasons_to_repeat(tmp_path / "cut.csv", "tile"))
    assert not list(reasons_to_repeat(tmp_path / "no.csv", "tile"))


def test_other_settings_are_a_reason(batch, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_text("one")
    settings = {"mpp": 8.0}
    digest = settings_digest(1, settings, weights)
    _, table = batch(settings=digest)
    assert list(reasons_to_repeat(table, "segment", digest)) == []
    others = [
        settings_digest(2, settings, weights),
        settings_digest(1, {"mpp": 9.0}, weights),
        settings_digest(1, settings),
    ]
    weights.write_text("two")
    for other in [*others, settings_digest(1, settings, weights)]:
        assert list(reasons_to_repeat(table, "segment", other)) == [f"{table}: made with other settings"]


ROWS = {
    "none": (lambda slides: slides, ""),
    "another order": (lambda slides: slides[::-1], ""),
    "another label, which this stage does not read": (lambda slides: [replace(slides[0], label="z"), *slides[1:]], ""),
    "a slide more": (lambda slides: [*slides, replace(slides[0], slide_id="e")], "e"),
    "a slide less": (lambda slides: slides[1:], "a"),
    "one excluded": (lambda slides: [replace(slides[0], exclude="doubtful"), *slides[1:]], "a"),
    "another mpp": (lambda slides: [*slides[:3], replace(slides[3], mpp=0.25)], "d"),
    "another path": (lambda slides: [*slides[:3], replace(slides[3], path=slides[0].path)], "d"),
    "settings of its own": (lambda slides: [*slides[:3], replace(slides[3], tissue="{mpp: 4}")], "d"),
}


@pytest.mark.parametrize("change", ROWS)
def test_other_rows_of_the_slide_sheet_are_a_reason(batch, change):
    edit, names = ROWS[change]
    paths, table = batch()
    expected = [f"batch {table.stem}: other rows of the slide sheet ({names})"] if names else []
    assert list(reasons_to_repeat(table, "segment", slides=edit(slides_of(paths)))) == expected
    assert list(reasons_to_list_again(table, edit(slides_of(paths)))) == expected
