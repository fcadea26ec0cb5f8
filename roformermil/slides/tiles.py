"""The grid of tiles over a slide, and which tiles lie on tissue."""

from dataclasses import dataclass

import cv2
import numpy as np

from roformermil.config import Tiles
from roformermil.errors import SlideError, Status
from roformermil.slides.reader import SlideReader


@dataclass(frozen=True)
class TileSpec:
    """How every tile of a slide is read: `base_px` x `base_px` level-0 pixels become `tile_px` x `tile_px`."""

    base_px: int  # side of a tile, which is also the distance between tiles, in level-0 pixels
    level: int  # pyramid level that tiles are read from
    read_px: int  # side of a tile in that level's pixels
    tile_px: int  # side of a tile as the encoder sees it


def tile_spec(slide: SlideReader, settings: Tiles) -> TileSpec:
    """The slide's tile geometry. Raises SlideError `too_coarse` where tiles would be enlarged beyond the tolerance."""
    mpp = slide.scale.mpp
    if mpp > settings.target_mpp * (1 + settings.tolerance):
        problem = f"the finest level has {mpp:.4g} um/px, but tiles need {settings.target_mpp:.4g}"
        remedy = "scan at a higher resolution, or raise tiles.target_mpp or tiles.tolerance"
        raise SlideError(Status.TOO_COARSE, f"{slide.path}: {problem}; {remedy}")
    base_px = round(settings.tile_px * settings.target_mpp / mpp)
    level = slide.level_for(settings.target_mpp)
    return TileSpec(base_px, level, round(base_px / slide.downsamples[level]), settings.tile_px)


def read_tile(slide: SlideReader, x: int, y: int, spec: TileSpec) -> np.ndarray:
    """A tile's pixels at the level it is read from, (read_px, read_px, 3) uint8 RGB."""
    return slide.read(x, y, spec.read_px, spec.read_px, spec.level)


def fit_tile(pixels: np.ndarray, spec: TileSpec) -> np.ndarray:
    """The tile resized for the encoder, (tile_px, tile_px, 3). Shrinking averages over areas, which avoids aliasing."""
    if spec.read_px == spec.tile_px:
        return pixels
    return cv2.resize(pixels, (spec.tile_px, spec.tile_px), interpolation=cv2.INTER_AREA)


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
