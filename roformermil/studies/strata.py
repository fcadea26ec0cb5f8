"""Halves of a data set by tissue density and by slide size: relative positions may help less on sparse tissue."""

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


def split_by_strata(grids: dict[str, np.ndarray]) -> dict[str, set[str]]:
    """The slide ids of each of STRATA: up to and above the median density, and the median number of tiles."""
    strata: dict[str, set[str]] = {}
    for (low, high), measure in ((STRATA[:2], density), (STRATA[2:], len)):
        values = {slide_id: measure(grid) for slide_id, grid in grids.items()}
        median = np.median(list(values.values()))
        strata[low] = {slide_id for slide_id, value in values.items() if value <= median}
        strata[high] = set(values) - strata[low]
    return strata
