"""The grid of tiles over a slide, and which tiles lie on tissue."""

from dataclasses import dataclass

import cv2
import numpy as np

from roformermil.config import Tiles
from roformermil.errors import SlideError, Status
from roformermil.slides.reader import EXCLUDE_IT, SlideReader

COMPARED_TILES = 16  # places at which the level that tiles are read from is compared with level 0
BAND_ROWS = 4  # of the grid
MOST_ABSENT = 0.05  # of a tile's area: tissue whose pixels the file lacks
MOST_OUTSIDE = 0.1  # of a slide's tissue, beyond the last whole tile


@dataclass(frozen=True)
class TileSpec:
    """How every tile of a slide is read: `base_px` x `base_px` level-0 pixels become `tile_px` x `tile_px`."""

    base_px: int  # side of a tile, which is also the distance between tiles, in level-0 pixels
    level: int  # pyramid level that tiles are read from
    read_px: int  # side of a tile in that level's pixels
    tile_px: int  # side of a tile as the encoder sees it


@dataclass(frozen=True)
class TileGrid:
    """The n tiles of a slide."""

    spec: TileSpec
    positions: np.ndarray  # (n, 2) int32, x and y
    tissue: np.ndarray  # (n,) float64, fraction of the tile that is tissue
    warnings: tuple[str, ...]


def tile_spec(slide: SlideReader, settings: Tiles) -> TileSpec:
    """The slide's tile geometry.

    Raises SlideError: `too_coarse` where tiles would be enlarged beyond the tolerance, `too_small` where none fits.
    """
    mpp = slide.scale.mpp
    if mpp > settings.target_mpp * (1 + settings.tolerance):
        problem = f"the finest level has {slide.scale}, but tiles need {settings.target_mpp:.4g}"
        if warning := slide.scale.warning:
            raise SlideError(Status.TOO_COARSE, f"{slide.path}: {problem}; {warning}")
        remedy = f"{EXCLUDE_IT}, or raise tiles.tolerance or tiles.target_mpp"
        raise SlideError(Status.TOO_COARSE, f"{slide.path}: {problem}", remedy)
    base_px = round(settings.tile_px * settings.target_mpp / mpp)
    if min(slide.size) < base_px:
        problem = f"the slide ({slide.size[0]} x {slide.size[1]} px) is smaller than one tile ({base_px} px of level 0)"
        remedy = f"{EXCLUDE_IT}, or lower tiles.tile_px or tiles.target_mpp"
        raise SlideError(Status.TOO_SMALL, f"{slide.path}: {problem}", remedy)
    return _at_level(slide, base_px, slide.level_for(settings.target_mpp), settings)


def lay_grid(slide: SlideReader, mask: np.ndarray, settings: Tiles) -> TileGrid:
    """The tiles of a slide that lie on tissue and that the file contains. mask: (h, w) bool, of the whole slide.

    Raises SlideError as `tile_spec` does, and `read_failed` where the file contains none of them.
    """
    spec = tile_spec(slide, settings)
    grid, tissue = tissue_grid(mask, slide.size, spec.base_px, settings.min_tissue)
    centres = (grid[:: len(grid) // COMPARED_TILES + 1] + 0.5) * spec.base_px
    level = slide.level_for(settings.target_mpp, centres.tolist())
    spec = _at_level(slide, spec.base_px, level, settings)  # a finer one where that level does not show the tissue
    slide.open_level(spec.level)  # which may add a warning
    warnings = list(slide.warnings)
    if (absent := absent_tissue(slide, mask, spec, grid) > MOST_ABSENT).any():
        count = f"{np.count_nonzero(absent)} of {len(grid)} tiles on tissue"
        lost = f"the file lacks pixels of {count} (level {level})"
        if absent.all():
            raise SlideError(Status.READ_FAILED, f"{slide.path}: {lost}; copy or export the slide again")
        warnings.append(f"{lost}, which are left out")
        grid, tissue = grid[~absent], tissue[~absent]
    if (outside := tissue_outside_grid(mask, slide.size, spec.base_px)) > MOST_OUTSIDE:
        warnings.append(f"{outside:.0%} of the tissue is at the right or lower edge, where no whole tile fits")
    return TileGrid(spec, grid, tissue, tuple(warnings))


def absent_tissue(slide: SlideReader, mask: np.ndarray, spec: TileSpec, grid: np.ndarray) -> np.ndarray:
    """The fraction of each grid tile's area that is tissue whose pixels the file lacks: (n,) float64.

    Scanners leave out the file's tiles of bare glass, which a reader shows white: where there is no tissue, that is right.
    """
    none = np.zeros(len(grid))
    if (directory := slide.tiff_directory(spec.level)) is None:
        return none
    y, x = ((np.arange(n) + 0.5) * side / n for n, side in zip(mask.shape, directory.size[::-1], strict=True))
    absent = directory.lacks(x.astype(int), y.astype(int)) & mask
    if not absent.any():
        return none
    row, column = np.argwhere(absent)[0]
    downsample = slide.downsamples[spec.level]
    if slide.is_scanned(int(x[column] * downsample), int(y[row] * downsample), spec.level):
        return none  # OpenSlide draws absent tiles of some formats from another level
    columns, rows = (side // spec.base_px for side in slide.size)
    return tissue_fraction(absent, slide.size, spec.base_px, columns, rows)[grid[:, 1], grid[:, 0]]


def tissue_outside_grid(mask: np.ndarray, size: tuple[int, int], base_px: int) -> float:
    """The fraction of the tissue that lies beyond the last whole tile of each row and column."""
    inside = tissue_fraction(mask, size, base_px, size[0] // base_px, size[1] // base_px).sum() * base_px**2
    total = mask.mean() * size[0] * size[1]
    return float(1 - inside / total) if total else 0.0


def reading_order(grid: np.ndarray) -> np.ndarray:
    """The order, (n,) int, in which to read the tiles at these grid positions (n, 2): column by column of bands a few rows high.
    Tiles read together are neighbours then in both directions, and share the file's tiles that they overlap."""
    return np.lexsort((grid[:, 1], grid[:, 0], grid[:, 1] // BAND_ROWS))


def read_tile(slide: SlideReader, x: int, y: int, spec: TileSpec) -> np.ndarray:
    """A tile's pixels at the level it is read from, (read_px, read_px, 3) uint8 RGB."""
    return slide.read(x, y, spec.read_px, spec.read_px, spec.level)


def fit_tile(pixels: np.ndarray, spec: TileSpec, out: np.ndarray | None = None) -> np.ndarray:
    """The tile resized for the encoder, (tile_px, tile_px, 3); written to `out` where that is given. Shrinking averages over
    areas, which avoids aliasing."""
    return cv2.resize(pixels, (spec.tile_px, spec.tile_px), dst=out, interpolation=cv2.INTER_AREA)  # copies equal sizes


def _at_level(slide: SlideReader, base_px: int, level: int, settings: Tiles) -> TileSpec:
    return TileSpec(base_px, level, round(base_px / slide.downsamples[level]), settings.tile_px)


def tissue_grid(
    mask: np.ndarray, size: tuple[int, int], base_px: int, min_tissue: float
) -> tuple[np.ndarray, np.ndarray]:
    """Grid positions of tiles on tissue, (n, 2) int32 (x, y) row by row, and their fractions of tissue, (n,) float64.

    mask: (h, w) bool over a slide of `size` (width, height) level-0 pixels. The grid starts at (0, 0); tiles that reach
    beyond the slide's edge are left out, so that no tile contains padding.
    """
    columns, rows = size[0] // base_px, size[1] // base_px
    fraction = tissue_fraction(mask, size, base_px, columns, rows)
    y, x = np.nonzero((fraction >= min_tissue) & (fraction > 0))
    return np.stack([x, y], axis=1).astype(np.int32), fraction[y, x]


def tissue_fraction(mask: np.ndarray, size: tuple[int, int], base_px: int, columns: int, rows: int) -> np.ndarray:
    """The exact fraction of each grid tile's area that the mask covers: (rows, columns) float64.

    The mask's integral image is linear within a mask pixel, so interpolating it at the tiles' corners is exact.
    """
    height, width = mask.shape
    integral = np.zeros((height + 1, width + 1))
    integral[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    x = np.arange(columns + 1) * base_px * (width / size[0])
    y = np.arange(rows + 1) * base_px * (height / size[1])
    corners = _interpolate_rows(_interpolate_rows(integral, y).T, x).T  # (rows + 1, columns + 1)
    area = np.diff(x)[None, :] * np.diff(y)[:, None]
    sums = corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]
    return (sums / area).round(9).clip(0, 1)  # rounding removes the error of the subtraction


def _interpolate_rows(table: np.ndarray, positions: np.ndarray) -> np.ndarray:
    low = np.minimum(positions.astype(int), len(table) - 2)
    weight = (positions - low)[:, None]
    return table[low] * (1 - weight) + table[low + 1] * weight
