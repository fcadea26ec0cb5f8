"""Whether a coarse level of a slide shows what its finest level shows.

Files exist whose coarse levels are white, black, shifted or of another slide. Tissue would be looked for where it is not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np

WINDOW_PX = 256  # side of a compared window, in level-0 pixels
WINDOWS_PER_SIDE = 4  # of a small slide, at least
SMALLEST_WINDOW = 8  # in the coarse level's pixels
OFFSET_PX, LEAST_OFFSET = 32, 3  # by which levels may be shifted: level-0 pixels, but at least so many of the level
# grey levels: standard deviations of a window that shows nothing, and of one that shows something
FLAT, CONTRAST = 2.0, 8.0
LEAST_CORRELATION = 0.5  # of the same window in two levels; on real slides it is 0.7 to 1
MOST_DIFFERENCE = 30.0  # grey levels, between the means of a window
MOST_ABSENT = 0.05  # of a window of level 0: rounding at the slide's edge
MOST_WRONG = 0.1  # of the windows that show anything; one of at least
ENOUGH_WINDOWS = 5
MOST_BLANK = 1  # windows in which only level 0 shows anything
FLAT_WINDOWS = 24  # compared beside windows with contrast, since a part of the level may be blank
MOST_CONTRAST_WINDOWS, SPREAD_WINDOWS, BLANK_WINDOWS = 12, 25, 144  # compared; the last of a level that shows nothing
SAME, DIFFERENT, BLANK = "same", "different", "blank"  # of a coarse level's window
Read = Callable[[int, int, int, int, int], np.ndarray]  # of a backend


@dataclass(frozen=True)
class Comparison:
    """Of two levels of a slide, window by window."""

    windows: int  # that show anything
    wrong: int  # of them, those in which the levels differ
    blank: int = 0  # of these, those in which the coarse level shows nothing

    @property
    def is_same(self) -> bool:
        tolerated = 1 if self.windows >= ENOUGH_WINDOWS else 0
        return self.blank <= MOST_BLANK and self.wrong <= max(tolerated, MOST_WRONG * self.windows)


def window_side(downsample: float, size: tuple[int, int]) -> int:
    """Side of a window in pixels of a level of this `size`."""
    return min(max(SMALLEST_WINDOW, min(round(WINDOW_PX / downsample), min(size) // WINDOWS_PER_SIDE)), *size)


def window_at(x: float, y: float, downsample: float, size: tuple[int, int]) -> tuple[int, int]:
    """Top-left corner of the window around a level-0 position, in pixels of the level."""
    side = window_side(downsample, size)
    left, top = (round(at / downsample - side / 2) for at in (x, y))
    return max(0, min(left, size[0] - side)), max(0, min(top, size[1] - side))


def choose_windows(image: np.ndarray, downsample: float, size: tuple[int, int]) -> list[tuple[int, int]]:
    """Top-left corners of the windows to compare, in pixels of the level: those with most contrast in `image`, which shows
    the level at any size, windows beside these that show nothing, and others spread over the level. Where it shows nothing,
    more of these."""
    side = window_side(downsample, size)
    columns, rows = (extent // side for extent in size)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    zoom = grey.shape[1] / size[0], grey.shape[0] / size[1]
    x, y = ((np.arange(n + 1) * side * z).astype(int) for n, z in zip((columns, rows), zoom, strict=True))
    cells = [grey[y[row] : y[row + 1], x[column] : x[column + 1]] for row in range(rows) for column in range(columns)]
    contrast = np.array([cell.std() if cell.size else 0 for cell in cells])
    best = np.argsort(-contrast, kind="stable")[:MOST_CONTRAST_WINDOWS]
    best = best[contrast[best] > CONTRAST]
    shown = (contrast > CONTRAST).reshape(rows, columns).astype(np.uint8)
    beside = np.flatnonzero((cv2.dilate(shown, np.ones((3, 3), np.uint8)).ravel() > 0) & (contrast < FLAT))
    beside = beside[_spread(len(beside), FLAT_WINDOWS)]
    per_side = int((SPREAD_WINDOWS if len(best) else BLANK_WINDOWS) ** 0.5)
    spread = [_spread(rows, per_side)[:, None] * columns + _spread(columns, per_side)]
    chosen = np.unique(np.concatenate([best, beside, *spread], axis=None))
    return [(int(k % columns) * side, int(k // columns) * side) for k in chosen]


def compare_levels(
    read: Read, level: int, downsample: float, size: tuple[int, int], corners: Iterable[tuple[int, int]]
) -> Comparison:
    """Compare a level of this `downsample` and `size` with level 0 in windows at these corners.

    Windows of which level 0 lacks a part are left out.
    """
    side = window_side(downsample, size)
    results = [_compare(read, level, downsample, size, side, x, y) for x, y in corners]
    shown = [result for result in results if result is not None]
    return Comparison(len(shown), len(shown) - shown.count(SAME), shown.count(BLANK))


def _spread(count: int, wanted: int) -> np.ndarray:
    """`wanted` of `count` positions, or all, evenly spread."""
    wanted = min(count, wanted)
    return (np.arange(wanted) * count + count // 2) // wanted


def _compare(read: Read, level: int, downsample: float, size: tuple[int, int], side: int, x: int, y: int) -> str | None:
    """What a window of the level shows beside level 0; None where both show nothing, or level 0 lacks a part of it."""
    offset = max(LEAST_OFFSET, round(OFFSET_PX / downsample))
    left, top = max(0, x - offset), max(0, y - offset)
    width, height = min(size[0], x + side + offset) - left, min(size[1], y + side + offset) - top
    at_0 = round(side * downsample)
    fine = read(round(x * downsample), round(y * downsample), at_0, at_0, 0)
    if fine.shape[2] == 4 and (fine[..., 3] < 255).mean() > MOST_ABSENT:
        return None
    reduced = cv2.resize(_grey(fine), (side, side), interpolation=cv2.INTER_AREA)
    coarse = _grey(read(round(left * downsample), round(top * downsample), width, height, level))
    scores = cv2.matchTemplate(coarse, reduced, cv2.TM_CCOEFF_NORMED)
    shift = cv2.minMaxLoc(scores)[3] if reduced.std() >= FLAT else (x - left, y - top)
    coarse = coarse[shift[1] : shift[1] + side, shift[0] : shift[0] + side]
    difference = abs(reduced.mean() - coarse.mean())
    least, most = sorted([reduced.std(), coarse.std()])
    if most < CONTRAST and difference < MOST_DIFFERENCE:
        return None
    if coarse.std() < FLAT and reduced.std() > CONTRAST:
        return BLANK
    same = least >= FLAT and difference < MOST_DIFFERENCE and scores.max() >= LEAST_CORRELATION
    return SAME if same else DIFFERENT


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(h, w) float32, white where nothing was scanned. pixels: (h, w, 3 or 4) uint8."""
    grey = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return grey if pixels.shape[2] == 3 else 255 - (255 - grey) * pixels[..., 3] / np.float32(255)
