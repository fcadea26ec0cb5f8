"""Halves of a data set by tissue density and by slide size: relative positions may help less on sparse tissue."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import convolve

STRATA = ("sparse", "dense", "small", "large")


def density(grid: np.ndarray) -> float:
    """The fraction of a tile's 8 neighbours that are tiles too, mean over the tiles of a grid (n, 2)."""
    low = grid.min(axis=0)
    x, y = (grid - low).T
    is_tile = np.zeros(grid.max(axis=0) - low + 1, np.int32)
    is_tile[x, y] = 1
    in_square = convolve(is_tile, np.ones((3, 3), np.int32), mode="constant")  # tiles among a tile and its neighbours
    return float(np.mean(in_square[x, y] - 1) / 8)


def split_by_strata(grids: Mapping[str, Sequence[np.ndarray]]) -> dict[str, set[str]]:
    """The ids of each of STRATA: up to and above the median density, and the median number of tiles.

    grids: by the id of a slide its grid, or by that of a patient those of all slides.
    """
    strata: dict[str, set[str]] = {}
    for (low, high), measure in ((STRATA[:2], _mean_density), (STRATA[2:], _count_tiles)):
        values = {name: measure(of_bag) for name, of_bag in grids.items()}
        median = np.median(list(values.values()))
        strata[low] = {slide_id for slide_id, value in values.items() if value <= median}
        strata[high] = set(values) - strata[low]
    return strata


def _mean_density(grids: Sequence[np.ndarray]) -> float:
    """Mean over the tiles of all grids."""
    return float(np.average([density(grid) for grid in grids], weights=[len(grid) for grid in grids]))


def _count_tiles(grids: Sequence[np.ndarray]) -> int:
    return sum(map(len, grids))
