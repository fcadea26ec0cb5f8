"""The grid of tiles over a slide, and which of its tiles lie on tissue."""

from dataclasses import dataclass

import cv2
import numpy as np

from roformermil.config import Tiles
from roformermil.errors import SlideError, Status
from roformermil.slides.reader import SlideReader


@dataclass(frozen=True)
class TileSpec:
    """How every tile of one slide is read: a square of `step` level-0 pixels becomes `size` x `size` pixels."""

    base_px: int  # side of a tile, and distance between tiles, in level-0 pixels
    level: int  # pyramid level that is read
    read_px: int  # side of a tile in that level's pixels
    tile_px: int  # side of a tile as the encoder sees it


def tile_spec(slide: SlideReader, settings: Tiles) -> TileSpec:
    """The slide's tile geometry. Raises SlideError `too_coarse` when tiles would have to be enlarged."""
    mpp = slide.scale.mpp
    if mpp > settings.target_mpp * (1 + settings.tolerance):
        raise SlideError(
            Status.TOO_COARSE,
            f"{slide.path}: finest level has {mpp:.4g} um/px, tiles need {settings.target_mpp:.4g}; "
            "scan finer, or raise tiles.target_mpp or tiles.tolerance",
        )
    step = round(settings.tile_px * settings.target_mpp / mpp)
    level = slide.level_for(settings.target_mpp)
    return TileSpec(step, level, round(step / slide.downsamples[level]), settings.tile_px)


def read_tile(slide: SlideReader, x: int, y: int, spec: TileSpec) -> np.ndarray:
    """One tile's pixels as its level has them, (read, read, 3) uint8 RGB."""
    return slide.read(x, y, spec.read_px, spec.read_px, spec.level)


def fit_tile(pixels: np.ndarray, spec: TileSpec) -> np.ndarray:
    """The tile at the encoder's size, (size, size, 3). Shrinking averages over areas, so nothing aliases."""
    if spec.read_px == spec.tile_px:
        return pixels
    return cv2.resize(pixels, (spec.tile_px, spec.tile_px), interpolation=cv2.INTER_AREA)


def tissue_grid(mask: np.ndarray, size: tuple[int, int], step: int, min_tissue: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid positions of the tiles on tissue, in row order, and the fraction of tissue each covers.

    mask: (h, w) bool over a slide of `size` (width, height) level-0 pixels. The grid's origin is (0, 0), and only
    tiles wholly inside the slide count: none holds invented pixels. Returns (n, 2) int32 (x, y) and (n,) float64.
    """
    columns, rows = size[0] // step, size[1] // step
    fraction = coverage(mask, size, step, columns, rows)
    y, x = np.nonzero((fraction >= min_tissue) & (fraction > 0))
    return np.stack([x, y], axis=1).astype(np.int32), fraction[y, x]


def coverage(mask: np.ndarray, size: tuple[int, int], step: int, columns: int, rows: int) -> np.ndarray:
    """Exact fraction of each grid tile's area that the mask covers: (rows, columns) float64.

    The mask's integral is linear inside a mask pixel, so its bilinear interpolation at the tiles' corners is exact.
    """
    height, width = mask.shape
    integral = np.zeros((height + 1, width + 1))
    integral[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    x = np.arange(columns + 1) * step * (width / size[0])
    y = np.arange(rows + 1) * step * (height / size[1])
    corners = _at(_at(integral, y).T, x).T  # (rows + 1, columns + 1)
    area = np.diff(x)[None, :] * np.diff(y)[:, None]
    sums = corners[1:, 1:] - corners[:-1, 1:] - corners[1:, :-1] + corners[:-1, :-1]
    return (sums / area).round(9).clip(0, 1)  # rounding drops the cancellation's last bits


def _at(table: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Rows of `table` linearly interpolated at fractional `positions`."""
    low = np.minimum(positions.astype(int), len(table) - 2)
    weight = (positions - low)[:, None]
    return table[low] * (1 - weight) + table[low + 1] * weight
