import os
from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort import slide_files
from roformermil.cohort.slide_files import content_id, file_state, reasons_to_repeat
from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import Status
from roformermil.runtime.records import write_records


def test_the_content_id_depends_on_content_not_on_the_name(tmp_path):
    file, copy, data = tmp_path / "a", tmp_path / "b", bytes(range(256)) * 10000
    file.write_bytes(data)
    for copied, is_equal in ((data, True), (b"\1" + data[1:], False), (data[:-1], False)):
        copy.write_bytes(copied)
        assert (content_id(file) == content_id(copy)) == is_equal


def test_the_content_id_of_a_folder_depends_on_its_files(tmp_path):
    folder = tmp_path / "slide.zarr"
    (folder / "0").mkdir(parents=True)
    for k in range(40):
        (folder / f"0/{k}").write_bytes(bytes([k]) * 100)
    first = content_id(folder)
    assert content_id(folder) == first
    (folder / "0/0").write_bytes(b"x" * 100)
    assert content_id(folder) != first
    (folder / "0/0").write_bytes(bytes(100))
    (folder / "0/7").rename(folder / "0/70")
    assert content_id(folder) != first


@pytest.fixture
def batch(tmp_path):
    """Records of a first stage on four slides, as `write` returns them: by default all are `ok`."""
    paths = [tmp_path / f"{name}.svs" for name in "abcd"]
    for path in paths:
        path.write_text(path.stem)

    def write(**changes):
        records = [SlideRecord(path.stem, path, content=content_id(path), **file_state(path)) for path in paths]
        write_records(tmp_path / "table.csv", [replace(record, **changes) for record in records])
        return paths, tmp_path / "table.csv"

    return write


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
    assert list(reasons_to_repeat(table, "segment", reads_files=True)) == []
    edit(paths[1])
    expected = ["b: its file changed"] if is_reason else []
    assert list(reasons_to_repeat(table, "segment", reads_files=True)) == expected
    assert list(reasons_to_repeat(table, "tile", reads_files=False)) == []


def test_content_is_read_only_where_size_or_date_differ(batch, monkeypatch):
    paths, table = batch()
    read = []
    monkeypatch.setattr(slide_files, "content_id", lambda path: read.append(path) or "another")
    paths[2].touch()
    assert len(list(reasons_to_repeat(table, "segment", reads_files=True))) == 1 and read == [paths[2]]


def test_a_slide_whose_content_could_not_be_read_is_noticed_once_it_can(batch):
    paths, table = batch(status="unreadable", stage="segment", content="")  # chmod changes neither size nor date
    assert len(list(reasons_to_repeat(table, "segment", reads_files=True))) == 4
    paths[0].unlink()
    assert len(list(reasons_to_repeat(table, "segment", reads_files=True))) == 3


@pytest.mark.parametrize("status", Status)
def test_transient_failures_are_tried_again_by_their_stage(batch, status):
    paths, table = batch(status=status, stage="embed")
    is_transient = status in ("missing", "timed_out", "crashed", "changed", "out_of_memory")
    for stage, count in (("embed", 4), ("tile", 0)):
        assert len(list(reasons_to_repeat(table, stage, reads_files=False))) == count * is_transient
    paths[0].unlink()
    assert len(list(reasons_to_repeat(table, "embed", reads_files=False))) == 3 * is_transient


def test_a_damaged_table_is_a_reason_and_an_absent_one_is_not(tmp_path):
    (tmp_path / "cut.csv").write_text("slide_id,pa")
    assert "damaged" in next(reasons_to_repeat(tmp_path / "cut.csv", "tile", False))
    assert not list(reasons_to_repeat(tmp_path / "no.csv", "tile", False))


@pytest.mark.parametrize("name", ["slide.mrxs", "slide.vms", "1.dcm"])
def test_the_state_of_a_slide_of_several_files_follows_all_of_them(tmp_path, name):
    slide = tmp_path / name
    slide.touch()
    companion = {".mrxs": "slide/Data0000.dat", ".vms": "slide_map2.jpg", ".dcm": "2.dcm"}[slide.suffix]
    (tmp_path / companion).parent.mkdir(exist_ok=True)
    (tmp_path / companion).write_text("one")
    before, content = file_state(slide), content_id(slide)
    (tmp_path / companion).write_text("two")
    os.utime(tmp_path / companion, (10**9, 10**9))
    assert file_state(slide) != before and content_id(slide) != content
