"""Every pixel is compared with OpenSlide's own."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openslide
import pytest
import tifffile

from roformermil.cohort.slide_table import SlideRecord, _update
from roformermil.config import Tiles, Tissue
from roformermil.slides import native_tiles, steps
from roformermil.slides.native_tiles import NativeTiles
from roformermil.slides.reader import DIFFERENT_PIXELS, SlideReader
from roformermil.slides.tiff import read_directories
from roformermil.slides.tiles import TileSpec, read_tile, reading_order
from tests.factories import raises_slide_error
from tests.tissue_drawing import draw_tissue

TILES = [("ycbcr", 256, 256), ("rgb", 256, 256), ("ycbcr", 240, 112)]


def write_tiled(path, photometric="ycbcr", width=256, height=256):
    """A slide of 700 x 600 px at 0.5 um/px and a level of half that, in JPEG tiles; an Aperio's if it is an .svs."""
    image = draw_tissue(np.random.default_rng(1), 700, 600)
    kind = {"photometric": photometric, "compression": "jpeg", "tile": (height, width), "metadata": None}
    with tifffile.TiffWriter(path) as file:
        for k, level in enumerate((image, image[::2, ::2])):
            text = "Aperio Image Library|AppMag = 20|MPP = 0.5" if path.suffix == ".svs" else None
            scale = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
            file.write(level, subfiletype=k, description=text, **scale, **kind)
    return path


def tile_bytes(path, number):
    """Where tile `number` of level 0 is in the file: its first byte and the number of bytes."""
    with tifffile.TiffFile(path) as file:
        return file.pages[0].dataoffsets[number], file.pages[0].databytecounts[number]


def plain(path, x, y, width, height, level=0):
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((x, y), level, (width, height)))[..., :3]


def native(reader, level=0):
    return reader._native_level(level)


@pytest.mark.parametrize(("photometric", "width", "height"), TILES)
def test_pixels_equal_those_of_openslide(tmp_path, photometric, width, height):
    path = write_tiled(tmp_path / "s.tif", photometric, width, height)
    regions = [
        (0, 0, 700, 600, 0),
        (13, 7, 1, 1, 0),
        (250, 100, 257, 257, 0),
        (600, 500, 100, 100, 0),
        (2, 4, 300, 90, 1),
    ]
    with SlideReader(path) as reader:
        for region in regions:
            assert (reader.read(*region) == plain(path, *region)).all()
        assert native(reader) and native(reader, 1) and reader.reader == "openslide+simplejpeg" and not reader.warnings


def test_what_lies_between_pixels_or_beyond_the_edge_is_left_to_openslide(tmp_path):
    path = write_tiled(tmp_path / "s.tif")
    with SlideReader(path) as reader:
        assert (reader.read(11, 7, 50, 50, 1) == plain(path, 11, 7, 50, 50, 1)).all()
        assert (reader.read(650, 550, 100, 100)[50:, 50:] == 255).all()
        assert reader.read(-10, 0, 20, 20).shape == (20, 20, 3)


@pytest.mark.parametrize("part", ["end", "middle", "all"])
@pytest.mark.parametrize("is_real", [False, True])
def test_a_damaged_tile_is_what_it_is_for_openslide(tmp_path, shared, is_real, part):
    """An error, or in some files grey pixels. Other decoders return grey pixels for all but the last."""
    path, number, x, y = tmp_path / "s.svs", 4, 260, 260
    if is_real:
        path.write_bytes((shared / "slides/stains/eas1-ihc.svs").read_bytes())
        number, x, y = 6 * 16 + 4, 4 * 256, 6 * 256
    else:
        write_tiled(path)
    start, count = tile_bytes(path, number)
    first, end = {"end": (count // 2, count), "middle": (count // 2, count // 2 + 200), "all": (0, count)}[part]
    data = bytearray(path.read_bytes())
    data[start + first : start + end] = bytes(end - first)
    path.write_bytes(data)
    with SlideReader(path) as reader:
        assert (reader.read(0, 0, 100, 100) == plain(path, 0, 0, 100, 100)).all() and native(reader)
        try:
            expected = plain(path, x, y, 250, 250)
        except openslide.OpenSlideError:
            with raises_slide_error("read_failed", "pixels at"):
                reader.read(x, y, 250, 250)
        else:
            assert not is_real and (reader.read(x, y, 250, 250) == expected).all()


def test_a_tile_that_the_file_lacks_is_read_by_openslide(tmp_path):
    path = write_tiled(tmp_path / "s.tif")
    with tifffile.TiffFile(path, mode="r+b") as file:
        tags = file.pages[0].tags
        for name in ("TileOffsets", "TileByteCounts"):
            values = list(tags[name].value)
            values[4] = 0
            tags[name].overwrite(values)
    with SlideReader(path) as reader:
        assert (reader.read(0, 0, 100, 100) == plain(path, 0, 0, 100, 100)).all() and native(reader)
        assert (reader.read(260, 260, 100, 100) == 255).all(), "white, as nothing was scanned"


def test_a_level_that_decodes_to_other_pixels_is_read_by_openslide(shared, monkeypatch):
    path = shared / "slides/CMU-1-Small-Region.svs"
    monkeypatch.setattr(native_tiles, "STORED_AS_RGB", b"")  # as decoders do that take its RGB for YCbCr
    with SlideReader(path) as reader:
        assert (reader.read(0, 0, 300, 300) == plain(path, 0, 0, 300, 300)).all()
        assert reader.reader == "openslide" and "level 0: its JPEG tiles decode to other pixels" in reader.warnings[0]


def test_the_slide_table_tells_of_levels_that_decode_to_other_pixels(tmp_path, monkeypatch):
    path = write_tiled(tmp_path / "s.tif")
    decode = NativeTiles._decode_tile
    monkeypatch.setattr(NativeTiles, "_decode_tile", lambda tiles, number: decode(tiles, number) ^ 1)
    record = SlideRecord("s", path)
    record = _update(record, steps.segment_slide(record, tmp_path, Tissue()))
    level_0, level_1 = (f"level {level}: {DIFFERENT_PIXELS}" for level in (0, 1))
    assert record.reader == "openslide" and level_0 in record.warnings.split("; ")
    for mpp, found in ((0.5, level_0), (1.0, level_1)):
        fields = steps.tile_slide(record, tmp_path, tmp_path, Tiles(tile_px=64, target_mpp=mpp))
        warnings = _update(record, fields).warnings.split("; ")
        assert found in warnings and len(warnings) == len(set(warnings)), "the same is said once"


def test_other_compressions_and_formats_are_left_to_openslide(tmp_path, shared):
    image = draw_tissue(np.random.default_rng(1), 512, 512)
    tifffile.imwrite(tmp_path / "s.tif", image, tile=(256, 256), compression="deflate", photometric="rgb")
    for path in (tmp_path / "s.tif", shared / "slides/test3-DAPI-2-387.ndpi"):
        with SlideReader(path, 0.5) as reader:
            assert reader.reader == "openslide" and not reader.warnings


def test_tiles_read_in_order_decode_few_tiles_of_the_file_twice(tmp_path):
    path = write_tiled(tmp_path / "s.tif", width=64, height=64)
    (directory, _), _ = read_directories(path)
    grid = np.array([(x, y) for y in range(8) for x in range(10)])
    order = reading_order(grid)
    assert sorted(order) == list(range(80))
    decoded = []
    for chunk in np.split(grid[order] * 67, [32, 64]):  # by another process each
        tiles = NativeTiles(path, directory)
        for x, y in chunk.tolist():
            assert tiles.read(x, y, 67, 67) is not None
        decoded.append(tiles._decode.cache_info().misses)
    assert sum(decoded) < 1.6 * 80, "as they lie in the grid's rows: 2.0"


def test_real_slides_have_the_pixels_of_openslide(shared):
    paths = sorted((shared / "slides").rglob("*.svs"))
    for k, path in enumerate(paths):
        rng = np.random.default_rng(k)
        with SlideReader(path, 0.5) as reader:
            assert native(reader) and not reader.warnings
            for x, y in rng.integers(0, np.array(reader.size) - 600, (2, 2)).tolist():
                assert (reader.read(x, y, 300, 300) == plain(path, x, y, 300, 300)).all(), path
                assert read_tile(reader, x, y, TileSpec(512, 0, 512, 256)).shape == (512, 512, 3)
    assert len(paths) == 29


def test_threads_may_share_a_level(tmp_path):
    path = write_tiled(tmp_path / "s.tif", width=64, height=64)
    (directory, _), _ = read_directories(path)
    tiles = NativeTiles(path, directory)
    places = [(x, y, 150, 150) for x in range(0, 550, 11) for y in range(0, 450, 50)]
    with ThreadPoolExecutor(8) as threads:
        for place, pixels in zip(places, threads.map(lambda place: tiles.read(*place), places), strict=True):
            assert (pixels == plain(path, *place)).all()
