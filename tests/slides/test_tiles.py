import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Tiles, Tissue
from roformermil.slides.reader import SlideReader
from roformermil.slides.tiff import TiffDirectory
from roformermil.slides.tiles import (
    TileSpec,
    absent_tissue,
    fit_tile,
    lay_grid,
    read_tile,
    tile_spec,
    tissue_fraction,
    tissue_grid,
)
from roformermil.slides.tissue import segment
from tests.factories import raises_slide_error

TILES = Tiles(tile_px=128)


@pytest.mark.parametrize(("mpp", "base_px"), [(0.25, 512), (0.2526, 507), (0.499, 257), (0.5, 256), (0.526, 243)])
def test_a_tiles_side_follows_the_mpp_and_no_nominal_magnification(slide, mpp, base_px):
    with SlideReader(slide, mpp) as reader:
        assert tile_spec(reader, Tiles()).base_px == base_px


@pytest.mark.parametrize(("mpp", "expected"), [(0.125, TileSpec(1024, 2, 256, 256)), (0.2, TileSpec(640, 1, 320, 256))])
def test_tiles_are_read_from_the_coarsest_level_that_is_fine_enough(slide, mpp, expected):
    with SlideReader(slide, mpp) as reader:  # levels of 1, 2 and 4 times this mpp
        assert tile_spec(reader, Tiles()) == expected


def test_a_slide_that_is_too_coarse_is_named(slide):
    said = r"0.6 um/px, as given \(slide sheet: column mpp\), but tiles need 0.5; the slide sheet says 0.6 um"
    with SlideReader(slide, mpp=0.6) as reader, raises_slide_error("too_coarse", said):
        tile_spec(reader, Tiles())
    with (
        SlideReader(slide) as reader,
        raises_slide_error("too_coarse", "has 0.5 um/px, but tiles need 0.4; exclude it"),
    ):
        tile_spec(reader, Tiles(target_mpp=0.4))


def test_grid_of_cmu_1_small_region_by_hand():
    """2220 x 2967 px at 0.499 um/px: 256 * 0.5 / 0.499 = 256.51, so 257 px per tile; 8 by 11 of them fit."""
    grid, tissue = tissue_grid(np.ones((139, 185), bool), (2220, 2967), 257, 0.25)
    assert grid.tolist() == [[x, y] for y in range(11) for x in range(8)], "row by row, x before y"
    assert np.allclose(tissue, 1)


def test_tissue_fraction_is_exact_against_brute_force():
    mask = np.random.default_rng(0).random((13, 17)) > 0.5
    base_px, columns, rows = 47, 510 // 47, 390 // 47  # each mask pixel is 30 x 30: tiles cut through mask pixels
    pixels = np.kron(mask, np.ones((30, 30)))[: rows * base_px, : columns * base_px]
    expected = pixels.reshape(rows, base_px, columns, base_px).mean(axis=(1, 3))
    assert np.allclose(tissue_fraction(mask, (510, 390), base_px, columns, rows), expected, atol=1e-9)


def test_tiles_are_kept_by_tissue():
    mask = np.zeros((4, 4), bool)
    mask[:, 0] = True  # the left half of each of the two left tiles
    for least, kept in ((0.5, [[0, 0], [0, 1]]), (0.51, []), (0, [[0, 0], [0, 1]])):  # never without any tissue
        assert tissue_grid(mask, (400, 400), 200, least)[0].tolist() == kept


@pytest.fixture
def drop_tiles(slide, tmp_path):
    """Writes a copy of the slide whose level 0 lacks the tiles (256 px, six columns and five rows) that `is_absent` says."""

    def write(is_absent):
        path = Path(shutil.copy(slide, tmp_path / "absent.tif"))
        with tifffile.TiffFile(path, mode="r+") as tiff:
            for name in ("TileOffsets", "TileByteCounts"):
                tag = tiff.pages[0].tags[name]
                tag.overwrite([0 if is_absent(k % 6, k // 6) else value for k, value in enumerate(tag.value)])
        return path

    return write


def grid_of(path, tiles=TILES):
    """The grid on the tissue of the slide, found in its overview."""
    with SlideReader(path) as slide:
        return lay_grid(slide, segment(slide.overview(8.0), Tissue(method="hsv")), tiles)


def test_a_damaged_directory_lacks_no_tile():
    counts = np.zeros(3, np.int64)
    directory = TiffDirectory((512, 512), (256, 256), 7, 8, 3, counts, counts, 6, b"")
    assert not directory.lacks(np.arange(0, 512, 128), np.arange(0, 512, 128)).any()


def test_tiles_on_tissue_that_the_file_lacks_are_left_out_and_counted(slide, drop_tiles):
    whole, grid = grid_of(slide), grid_of(drop_tiles(lambda column, _: column >= 3))
    kept = whole.positions[:, 0] < 6  # 128 px each: the left 768 px
    assert np.array_equal(grid.positions, whole.positions[kept]) and np.array_equal(grid.tissue, whole.tissue[kept])
    lost = f"the file lacks pixels of {(~kept).sum()} of {len(kept)} tiles on tissue (level 0), which are left out"
    assert lost in grid.warnings and 10 < kept.sum() < len(kept) - 10


def test_absent_tiles_of_bare_glass_are_in_order(slide, drop_tiles):
    """Tiles of 192 px on the glass and on the tissue beside it: a third of their side has no pixels, and no tissue."""
    corners = drop_tiles(lambda column, row: column in (0, 5) and row in (0, 4))
    with SlideReader(corners) as reader:
        assert reader.read(10, 10, 50, 50).min() == 255, "it is absent"
        mask = np.ones((75, 94), bool)
        mask[:20, :20] = mask[:20, -20:] = mask[-20:, :20] = mask[-20:, -20:] = False
        grid = lay_grid(reader, mask, Tiles(tile_px=192))
    with SlideReader(slide) as reader:
        assert (
            np.array_equal(grid.positions, lay_grid(reader, mask, Tiles(tile_px=192)).positions) and not grid.warnings
        )


def test_absent_tiles_that_openslide_draws_from_another_level_are_kept(tmp_path):
    """As it does for Aperio's coarser levels. Tiles of this slide at 40x are read from level 1."""
    pixels = np.random.default_rng(0).integers(100, 200, (1024, 1024, 3), dtype=np.uint8)
    options = {
        "tile": (256, 256),
        "photometric": "rgb",
        "metadata": None,
        "description": "Aperio Image Library|MPP = 0.25",
    }
    with tifffile.TiffWriter(tmp_path / "s.svs") as tiff:
        for level in (pixels, pixels[::2, ::2]):
            tiff.write(level, **options)
    with tifffile.TiffFile(tmp_path / "s.svs", mode="r+") as tiff:
        for name in ("TileOffsets", "TileByteCounts"):
            tiff.pages[1].tags[name].overwrite([0, 0, *tiff.pages[1].tags[name].value[2:]])
    with SlideReader(tmp_path / "s.svs") as slide:
        assert slide.tiff_directory(1).lacks(np.array([0]), np.array([0])).all()
        spec = tile_spec(slide, TILES)
        grid = np.argwhere(np.ones((4, 4)))
        assert spec.level == 1 and not absent_tissue(slide, np.ones((64, 64), bool), spec, grid).any()


def test_a_slide_that_lacks_all_its_tissue_is_named(drop_tiles):
    with raises_slide_error("read_failed", r"absent.tif: the file lacks pixels of (\d+) of \1 tiles on tissue"):
        grid_of(drop_tiles(lambda *_: True))


@pytest.mark.parametrize(("width", "height"), [(2560, 100), (255, 900)])
def test_a_slide_smaller_than_a_tile_is_named(tmp_path, width, height):
    write_pyramid(tmp_path / "thin.tif", np.full((height, width, 3), (190, 90, 160), np.uint8))
    size = rf"thin.tif: the slide \({width} x {height} px\) is smaller than one tile \(256 px of level 0\)"
    with raises_slide_error("too_small", rf"{size}; exclude it"):
        grid_of(tmp_path / "thin.tif", Tiles())


@pytest.mark.parametrize(("side", "warns"), [(512, False), (560, True), (767, True)])
def test_tissue_outside_the_grid_is_stated(tmp_path, side, warns):
    """At 560 px, (560² - 512²) / 560² = 16% of the slide; at 767 px more than half."""
    write_pyramid(tmp_path / "s.tif", np.zeros((side, side, 3), np.uint8))
    with SlideReader(tmp_path / "s.tif") as slide:
        grid = lay_grid(slide, np.ones((70, 70), bool), Tiles())
    share = f"{1 - (512 / side) ** 2:.0%}"
    expected = (f"{share} of the tissue is at the right or lower edge, where no whole tile fits",) if warns else ()
    assert (len(grid.positions), grid.warnings) == (4, expected)


def test_shrinking_does_not_alias(tmp_path):
    """A one-pixel checkerboard averages to grey; picking pixels would give black or white."""
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    write_pyramid(tmp_path / "board.tif", np.repeat(board[..., None], 3, axis=2))
    with SlideReader(tmp_path / "board.tif", mpp=0.2) as reader:
        spec = tile_spec(reader, Tiles(tile_px=64, target_mpp=0.39))  # level 0, 125 px to 64
        assert (spec.level, spec.read_px) == (0, 125)
        assert np.abs(fit_tile(read_tile(reader, 0, 0, spec), spec).astype(int) - 127).max() < 20
