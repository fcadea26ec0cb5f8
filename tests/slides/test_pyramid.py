"""Levels that do not show what level 0 shows are passed over, and named."""

import cv2
import numpy as np
import pytest
import tifffile

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Tiles, Tissue
from roformermil.slides.pyramid import Comparison, choose_windows, compare_levels
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.tile_table import read_tile_table
from roformermil.slides.tiles import lay_grid
from tests.tissue_drawing import draw_tissue

DOWNSAMPLES = (1, 4, 16)  # tissue is found on the last


@pytest.fixture(scope="module")
def levels():
    pixels = draw_tissue(np.random.default_rng(5), 1600, 1280)
    return [cv2.resize(pixels, None, fx=1 / d, fy=1 / d, interpolation=cv2.INTER_AREA) for d in DOWNSAMPLES]


def write_levels(path, levels, mpp=0.5):
    options = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        for k, level in enumerate(levels):
            tiff.write(
                level, subfiletype=int(k > 0), resolution=(1e4 / mpp,) * 2, resolutionunit="CENTIMETER", **options
            )
    return path


def half_white(level):
    return np.concatenate([level[:, : level.shape[1] // 2], np.full_like(level[:, level.shape[1] // 2 :], 255)], axis=1)


def blotch(level):
    """With a white spot in the tissue, in one window: less than the tenth that is tolerated."""
    level = level.copy()
    level[33:47, 49:63] = 255
    return level


WRONG = {
    "white": lambda level: np.full_like(level, 255),
    "black": np.zeros_like,
    "shifted": lambda level: np.roll(level, (15, 15), axis=(0, 1)),  # by 120 um
    "shifted sideways": lambda level: np.roll(level, 30, axis=1),
    "of another slide": lambda level: draw_tissue(np.random.default_rng(9), *level.shape[1::-1]),
    "upside down": lambda level: level[::-1],
    "half white": half_white,
}
RIGHT = {
    "itself": lambda level: level,
    "a pixel off": lambda level: np.roll(level, (1, 1), axis=(0, 1)),
    "blurred": lambda level: cv2.GaussianBlur(level, (0, 0), 0.7),
    "darker": lambda level: cv2.convertScaleAbs(level, alpha=0.95),
    "a blotch": blotch,
}


def outcome(path, folder):
    """The record's warnings, and the tile table."""
    record = SlideRecord(path.stem, path)
    warnings = segment_slide(record, folder, Tissue())["warnings"]
    tile_slide(record, folder, folder, Tiles(tile_px=128))
    return warnings, read_tile_table(folder / f"{path.stem}.npz")


@pytest.fixture(scope="module")
def grid_of_fine_levels(levels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine")
    _, table = outcome(write_levels(folder / "fine.tif", levels[:2]), folder)
    assert 30 < len(table.grid) < 12 * 10
    return table.grid


@pytest.mark.parametrize("change", WRONG)
def test_a_coarse_level_that_shows_something_else_is_passed_over(levels, grid_of_fine_levels, tmp_path, change):
    odd = write_levels(tmp_path / "odd.tif", [*levels[:2], WRONG[change](levels[2])])
    warnings, table = outcome(odd, tmp_path)
    assert "level 2 (100 x 80 px) differs from level 0 at" in warnings and "and is not used" in warnings
    assert np.array_equal(table.grid, grid_of_fine_levels)


@pytest.mark.parametrize("change", RIGHT)
def test_a_coarse_level_that_differs_as_those_of_scanners_do_is_used(levels, tmp_path, change):
    path = write_levels(tmp_path / "s.tif", [*levels[:2], RIGHT[change](levels[2])])
    with SlideReader(path) as slide:
        slide.overview(8.0)
        assert not slide.warnings


@pytest.mark.parametrize(
    ("windows", "wrong", "is_same"),
    [(0, 0, True), (1, 1, False), (4, 1, False), (5, 1, True), (19, 2, False), (30, 3, True), (30, 4, False)],
)
def test_a_tenth_of_the_windows_may_differ_and_one_of_five(windows, wrong, is_same):
    assert Comparison(windows, wrong).is_same == is_same


def test_a_coarse_level_whose_lowest_part_is_white_is_found(levels):
    """Windows with contrast are elsewhere: beside them are some that show nothing, where level 0 shows tissue."""
    fine = cv2.resize(levels[0], (4800, 3840))
    coarse = cv2.resize(fine, (300, 240), interpolation=cv2.INTER_AREA)
    end = np.flatnonzero((coarse.min(axis=2) < 200).any(axis=1))[-1]
    for blank_rows in (0, 32):
        shown = coarse.copy()
        shown[end - blank_rows :] = 255

        def read(x, y, width, height, level, shown=shown):
            image, x, y = (shown, x // 16, y // 16) if level else (fine, x, y)
            return image[y : y + height, x : x + width]

        result = compare_levels(read, 1, 16, (300, 240), choose_windows(shown, 16, (300, 240)))
        assert result.is_same == (blank_rows == 0)


def test_one_window_may_be_blank_where_level_0_shows_something():
    assert Comparison(60, 1, 1).is_same and not Comparison(60, 2, 2).is_same


def test_all_coarse_levels_may_be_wrong_and_those_of_bare_glass_are_not(levels, tmp_path):
    with SlideReader(write_levels(tmp_path / "s.tif", [levels[0], *map(half_white, levels[1:])])) as slide:
        image = slide.overview(8.0)
        assert np.array_equal(slide.overview(8.0), image), "the second time too"
        assert [warning[:7] for warning in slide.warnings] == ["level 2", "level 1"]
    expected = cv2.resize(levels[0], image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - expected).mean() < 2
    glass = np.random.default_rng(0).normal((240, 238, 241), 2, (1280, 1600, 3)).astype(np.uint8)
    blank = [cv2.resize(glass, None, fx=1 / d, fy=1 / d, interpolation=cv2.INTER_AREA) for d in DOWNSAMPLES]
    with SlideReader(write_levels(tmp_path / "blank.tif", blank)) as slide:
        slide.overview(8.0)
        assert not slide.warnings


def test_the_levels_of_a_small_slide_are_compared_too(levels, tmp_path):
    small = [level[: 512 // d, : 512 // d] for level, d in zip(levels, DOWNSAMPLES, strict=True)]
    for name, coarse, count in (("itself", small[2], 0), ("white", np.full_like(small[2], 255), 1)):
        with SlideReader(write_levels(tmp_path / f"{name}.tif", [*small[:2], coarse])) as slide:
            slide.overview(8.0)
            assert len(slide.warnings) == count


def test_tiles_are_not_read_from_a_level_that_shows_something_else(levels, tmp_path):
    """Of a slide at 40x tiles are read from the level of half the size."""
    half = cv2.resize(levels[0], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    mask, tiles = np.ones((80, 100), bool), Tiles(tile_px=128)
    for level, used, warnings in ((half, 1, 0), (np.roll(half, 200, axis=1), 0, 1)):
        with SlideReader(write_levels(tmp_path / "s.tif", [levels[0], level], mpp=0.25)) as slide:
            grid = lay_grid(slide, mask, tiles)
        assert (grid.spec.level, grid.spec.read_px, len(grid.warnings)) == (used, 256 >> used, warnings)


def test_pixels_that_cannot_be_read_are_not_compared(broken):
    """Half of the finer levels' tiles are damaged: OpenSlide reads nothing more after the first of them."""
    with SlideReader(broken / "damaged.tif") as slide:
        assert slide.overview(8.0).std() > 10 and not slide.warnings
        assert slide.read(0, 0, 64, 64).shape == (64, 64, 3)
