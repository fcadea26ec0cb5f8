"""The pixels that the viewer sends are those of the slide."""

from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_pyramid
from roformermil.errors import SlideError
from roformermil.slides.reader import SlideReader
from roformermil.viewer import pixels
from roformermil.viewer.pixels import OVERLAP, TILE, OpenSlides, ShownImage, spread_places

ROUNDING = 6.0  # grey levels, mean difference through JPEG and resizing


def to_array(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(jpeg)).convert("RGB")).astype(float)


def difference(one, two):
    return np.abs(one.astype(float) - two.astype(float)).mean()


def test_a_tile_of_the_finest_level_is_a_part_of_the_slide(slide):
    image = ShownImage(SlideRecord("s", slide), [])
    with SlideReader(slide) as reader:
        expected = reader.read(TILE - OVERLAP, 0, TILE + 2 * OVERLAP, TILE + OVERLAP)
    assert difference(to_array(image.tile(11, 1, 0)), expected) < ROUNDING
    assert image.facts == {"width": 1500, "height": 1200, "tile": TILE, "overlap": OVERLAP, "mpp": 0.5}


def test_threads_open_no_level(slide, monkeypatch):
    """They may read it at once only then."""
    image = ShownImage(SlideRecord("s", slide), [])
    monkeypatch.setattr(SlideReader, "_open_native", lambda *_: pytest.fail("opened while read"))
    for level in range(12):
        image.tile(level, 0, 0)


def test_coarse_tiles_show_the_whole_slide(slide):
    with SlideReader(slide) as reader:
        expected = reader.overview(reader.scale.mpp * 4)
    assert difference(to_array(ShownImage(SlideRecord("s", slide), []).tile(9, 0, 0)), expected) < ROUNDING


def test_a_region_is_the_tile_at_its_place(slide):
    with SlideReader(slide) as reader:
        expected = Image.fromarray(reader.read(256, 512, 256, 256)).resize((160, 160), Image.Resampling.BOX)
    shown = to_array(ShownImage(SlideRecord("s", slide), []).region(256, 512, 256))
    assert shown.shape == (160, 160, 3) and difference(shown, np.asarray(expected)) < ROUNDING


@pytest.mark.parametrize("place", [(0, 0, 5000), (1500, 0, 256), (0, 1200, 256), (0, 0, 0)])
def test_regions_outside_the_slide_are_refused(slide, place):
    with pytest.raises(ValueError):
        ShownImage(SlideRecord("s", slide), []).region(*place)


def test_a_slide_without_coarse_levels_is_not_read_whole_for_each_tile(slide, tmp_path, monkeypatch):
    with SlideReader(slide) as reader:
        whole = reader.read(0, 0, *reader.size)
    tifffile.imwrite(
        tmp_path / "flat.tif", whole, tile=(256, 256), resolution=(20000, 20000), resolutionunit="CENTIMETER"
    )
    monkeypatch.setattr(pixels, "OVERVIEW_PX", 512)
    image = ShownImage(SlideRecord("flat", tmp_path / "flat.tif"), [])
    read = image.pixels.reader.read
    sizes = []
    monkeypatch.setattr(image.pixels.reader, "read", lambda *at: sizes.append(at[2] * at[3]) or read(*at))
    assert (
        difference(to_array(image.tile(9, 0, 0)), to_array(ShownImage(SlideRecord("s", slide), []).tile(9, 0, 0)))
        < ROUNDING
    )
    assert image.pixels.level_count == 2 and not sizes  # from the picture of the whole slide
    image.tile(11, 1, 1)
    assert sizes


def test_a_level_that_shows_something_else_is_not_used(tmp_path, slide):
    path = tmp_path / "wrong.tif"
    with SlideReader(slide) as reader:
        whole = reader.read(0, 0, *reader.size)
    write_pyramid(path, whole)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        offsets, counts = page.dataoffsets, page.databytecounts
        blank = tiff.pages[1].dataoffsets[0], tiff.pages[1].databytecounts[0]
    data = bytearray(path.read_bytes())
    corner = bytes(data[blank[0] : blank[0] + blank[1]])  # glass
    for start, count in zip(offsets, counts, strict=True):
        if count >= len(corner):
            data[start : start + len(corner)] = corner
    path.write_bytes(data)
    coords = np.array([[x, y] for x in range(256, 1200, 256) for y in range(256, 900, 256)])
    image = ShownImage(SlideRecord("wrong", path), spread_places(coords, 256))
    assert all(level.source != 1 for level in image.pixels.levels)


def test_few_slides_remain_open_and_one_with_an_error_is_opened_again(slide, tmp_path, monkeypatch):
    opened, records = OpenSlides(), []
    for k in range(pixels.OPEN_SLIDES + 1):
        (path := tmp_path / f"{k}.tif").symlink_to(slide)
        records.append(SlideRecord(str(k), path))
    first = opened.get(records[0], list)
    assert opened.get(records[0], list) is first
    for record in records[1:]:
        opened.get(record, list)
    assert len(opened._slides) == pixels.OPEN_SLIDES and opened.get(records[0], list) is not first
    last = opened.get(records[-1], list)
    opened.forget(records[-1])
    assert opened.get(records[-1], list) is not last
    first.tile(9, 0, 0)  # a thread may still read it


def test_a_slide_without_a_resolution_is_shown(tmp_path, slide):
    with SlideReader(slide) as reader:
        tifffile.imwrite(tmp_path / "s.tif", reader.read(0, 0, 512, 512), tile=(256, 256))
    assert ShownImage(SlideRecord("s", tmp_path / "s.tif"), []).facts["mpp"] is None


def test_files_that_are_no_slides_have_their_message(broken):
    for name in ("cut.svs", "text.svs", "empty.svs"):
        with pytest.raises(SlideError, match=name):
            ShownImage(SlideRecord(name, broken / name), [])
