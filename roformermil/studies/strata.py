"""Halves of a data set by slide size and by tissue density, since relative encoding may weaken on sparse tissue."""

import numpy as np

STRATA = ("sparse", "dense", "small", "large")


def density(grid: np.ndarray) -> float:
    """How much tissue surrounds a tile: the fraction of its 8 neighbours that are tiles too, mean over grid (n, 2)."""
    low = grid.min(axis=0)
    width, height = grid.max(axis=0) - low + 3  # a margin of one on each side
    here = np.zeros((width, height), np.int32)
    x, y = (grid - low + 1).T
    here[x, y] = 1
    shifts = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if (dx, dy) != (0, 0)]
    return float(np.mean(sum(here[x + dx, y + dy] for dx, dy in shifts)) / 8)


def split_by_strata(grids: dict[str, np.ndarray]) -> dict[str, set[str]]:
    """Slide ids of each of SIDES: below and above the median density, and the median number of tiles."""
    density_of = {slide: density(grid) for slide, grid in grids.items()}
    tiles_of = {slide: float(len(grid)) for slide, grid in grids.items()}
    sides: dict[str, set[str]] = {}
    for (low, high), values in ((STRATA[:2], density_of), (STRATA[2:], tiles_of)):
        middle = np.median(list(values.values()))
        sides[low] = {slide for slide, value in values.items() if value <= middle}
        sides[high] = set(values) - sides[low]
    return sides
