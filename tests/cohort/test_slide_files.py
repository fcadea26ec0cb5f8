import os

import pytest

from roformermil.cohort.slide_files import content_id, file_state


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
