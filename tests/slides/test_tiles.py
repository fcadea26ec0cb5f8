import numpy as np
import pytest

from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Tiles
from roformermil.slides.reader import SlideReader
from roformermil.slides.tiles import TileSpec, fit_tile, read_tile, tile_spec, tissue_fraction, tissue_grid
from tests.factories import raises_slide_error


@pytest.mark.parametrize(("mpp", "base_px"), [(0.25, 512), (0.2526, 507), (0.499, 257), (0.5, 256), (0.526, 243)])
def test_a_tiles_side_follows_the_mpp_and_no_nominal_magnification(slide, mpp, base_px):
    with SlideReader(slide, mpp) as reader:
        assert tile_spec(reader, Tiles()).base_px == base_px


@pytest.mark.parametrize(("mpp", "expected"), [(0.125, TileSpec(1024, 2, 256, 256)), (0.2, TileSpec(640, 1, 320, 256))])
def test_tiles_are_read_from_the_coarsest_level_that_is_fine_enough(slide, mpp, expected):
    with SlideReader(slide, mpp) as reader:  # levels of 1, 2 and 4 times this mpp
        assert tile_spec(reader, Tiles()) == expected


def test_a_slide_that_is_too_coarse_is_named(slide):
    with SlideReader(slide, mpp=0.6) as reader, raises_slide_error("too_coarse", "0.6 um/px, but tiles need 0.5"):
        tile_spec(reader, Tiles())


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


def test_shrinking_does_not_alias(tmp_path):
    """A one-pixel checkerboard averages to grey; picking pixels would give black or white."""
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    write_pyramid(tmp_path / "board.tif", np.repeat(board[..., None], 3, axis=2))
    with SlideReader(tmp_path / "board.tif", mpp=0.2) as reader:
        spec = tile_spec(reader, Tiles(tile_px=64, target_mpp=0.39))  # level 0, 125 px to 64
        assert (spec.level, spec.read_px) == (0, 125)
        assert np.abs(fit_tile(read_tile(reader, 0, 0, spec), spec).astype(int) - 127).max() < 20
