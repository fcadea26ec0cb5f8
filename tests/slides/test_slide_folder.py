"""Which files of a folder are slides, and what is said of the others."""

import os

import pytest

from roformermil.slides.slide_folder import find_slides, is_feature_store, slide_name


@pytest.fixture
def folder(tmp_path):
    """Slides of several formats, parts of slides, and other files."""
    names = "a/one.svs a/deep/two.NDPI b/three.mrxs b/three/Slidedat.ini b/three/Data0001.dat four.vms four_map.jpg"
    names += " dicom/2.dcm dicom/1.dcm b/._three.mrxs .trash/old.svs @eaDir/one.svs/thumb.jpg"
    names += (
        " plain/notes.txt plain/more.txt plain/scan.vsi plain/README ome.zarr/.zattrs store.zarr/features/zarr.json"
    )
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "plain/slides.bin").write_bytes(b"PK\x03\x04 and more")
    (tmp_path / "plain/macro.jpg").write_bytes(b"\xff\xd8\xff and more")
    return tmp_path


def names_in(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_slides_are_found_by_their_endings_in_folders_below_in_order(folder):
    expected = ["a/deep/two.NDPI", "a/one.svs", "b/three.mrxs", "dicom/1.dcm", "four.vms", "ome.zarr"]
    assert names_in(find_slides(folder).slides, folder) == expected


def test_parts_of_slides_and_hidden_files_are_neither_slides_nor_others(folder):
    others = names_in([path for path, _ in find_slides(folder).others], folder)
    assert not [name for name in others if "three" in name or "four" in name or "one.svs" in name or "old" in name]


def test_others_are_counted_named_and_explained(folder):
    lines = find_slides(folder).describe_others()
    assert "2 files left out (.txt is not an ending of slide files): more.txt, notes.txt" in lines
    assert "1 file left out (a zip archive: unzip it): slides.bin" in lines
    assert "1 file left out (a JPEG image): macro.jpg" in lines
    assert "1 file left out (a feature store): store.zarr" in lines
    assert "1 file left out (no ending of slide files in its name): README" in lines
    assert any("OpenSlide does not read" in line and line.endswith(": scan.vsi") for line in lines)
    assert any("give each slide a folder" in line and line.endswith(": 2.dcm") for line in lines)
    assert len(lines) == 7


def test_a_folder_can_be_left_out_and_links_are_followed_once(folder):
    (folder / "a/back").symlink_to(folder)
    (folder / "linked").symlink_to(folder / "a/deep")
    slides = names_in(find_slides(folder, without=folder / "b").slides, folder)
    assert "b/three.mrxs" not in slides and len([name for name in slides if name.endswith("two.NDPI")]) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_listed_is_named(folder):
    (folder / "a").chmod(0)
    (line,) = [line for line in find_slides(folder).describe_others() if "cannot be read" in line]
    (folder / "a").chmod(0o700)
    assert line.endswith(": a")


def test_names_of_slides(folder):
    assert slide_name(folder / "a/one.svs") == "one" and slide_name(folder / "x.ome.tif") == "x"
    assert slide_name(folder / "dicom/1.dcm") == "dicom", "its files have only numbers"
    assert is_feature_store(folder / "store.zarr") and not is_feature_store(folder / "ome.zarr")
