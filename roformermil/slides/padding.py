"""Padding: where a slide's file is filled with one colour instead of a scan."""

from collections.abc import Iterator

import cv2
import numpy as np

WORK_MPP = 8.0  # um/px; finer overviews are reduced to this, coarser ones are used as they are

BLACK, BLACK_WINDOW = 30, 5  # of 255: black padding is darker; width in pixels of the window in which it varies little
BLACK_DEVIATION, BLACK_RANGE = 4.0, 10.0  # of 255: standard deviation in the window, difference across all padding
LEAST_PADDING_UM2, RECTANGLE = 16384.0, 0.9  # inside the slide it fills this fraction of its bounding box
PADDING_EDGE = 1  # pixels around padding that are a mixture with it
# Padding of other colours varies less, of 255, in windows of 3 x 3 pixels, and across its regions, from this width.
CONSTANT, CONSTANT_REGION, CONSTANT_UM = 1, 2, 72.0
MEASURED_PIXELS = 100_000  # of a region, about, since quantiles take 24 bytes per pixel
# Straight lines of so many pixels are this fraction of its outline, and together so long. Constant glass ends at tissue.
STRAIGHT, LINE, LEAST_LINES = 0.4, 24, 128

STRIP, OVERLAP = 256, 32  # rows that are compared at once, since colours take 12 bytes per pixel; rows that blurs reach


def find_padding(image: np.ndarray, mpp: float) -> np.ndarray:
    """Where the file is filled with near-black or with one colour: (h, w) bool. image: (h, w, 3) uint8 RGB at `mpp`.

    Near-black padding has one even colour and reaches the slide's border or is a rectangle; dark tissue, pigment and pen
    are neither. Padding of any other colour is constant and has straight sides.
    """
    return _find_black(image, mpp) | _find_constant(image, mpp)


def _find_black(image: np.ndarray, mpp: float) -> np.ndarray:
    grey = image.max(axis=2)
    window = (BLACK_WINDOW, BLACK_WINDOW)
    mean = cv2.blur(grey, window, borderType=cv2.BORDER_REPLICATE)
    even = mean <= BLACK
    if not even.any():
        return even
    for rows, kept in strips(grey.shape[0]):
        strip = grey[rows].astype(np.float32)
        variance = cv2.blur(strip**2, window, borderType=cv2.BORDER_REPLICATE)
        variance -= cv2.blur(strip, window, borderType=cv2.BORDER_REPLICATE) ** 2
        even[rows][kept] &= variance[kept] <= BLACK_DEVIATION**2
    _, regions, stats, _ = cv2.connectedComponentsWithStats(even.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats.T
    at_border = (x == 0) | (y == 0) | (x + width == even.shape[1]) | (y + height == even.shape[0])
    keep = (area * mpp**2 >= LEAST_PADDING_UM2) & (at_border | (area >= RECTANGLE * width * height))
    keep[0] = False  # the rest of the slide
    for region in np.flatnonzero(keep):
        inside = regions == region
        darkest, brightest = np.quantile(mean[inside][:: _step(inside)], (0.01, 0.99))
        keep[region] = brightest - darkest <= BLACK_RANGE
    # back to its full size, which the mean has reduced
    black = widen(keep[regions], BLACK_WINDOW // 2 + 1) & (grey <= BLACK)
    return widen(black, PADDING_EDGE)


def _find_constant(image: np.ndarray, mpp: float) -> np.ndarray:
    """Padding of one colour. There is none in a drawing, where all is of some constant colour."""
    height, width = image.shape[:2]
    image, mpp = reduce(image, mpp)
    box = np.ones((3, 3), np.uint8)
    constant: np.ndarray = np.ones(image.shape[:2], np.uint8)
    for channel in cv2.split(image):
        constant &= cv2.subtract(cv2.dilate(channel, box), cv2.erode(channel, box)) <= CONSTANT
    window = np.ones((odd(CONSTANT_UM / mpp),) * 2, np.uint8)
    constant = cv2.morphologyEx(constant, cv2.MORPH_OPEN, window)
    if not cv2.morphologyEx(1 - widen(constant, 1).astype(np.uint8), cv2.MORPH_OPEN, window).any():
        return np.zeros((height, width), bool)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(constant, connectivity=4)
    keep = stats[:, cv2.CC_STAT_AREA] * mpp**2 >= LEAST_PADDING_UM2
    keep[0] = False  # the rest of the slide
    for region in np.flatnonzero(keep):
        left, top, columns, rows = stats[region, :4]
        part = np.s_[max(0, top - 1) : top + rows + 1, max(0, left - 1) : left + columns + 1]
        inside = regions[part] == region
        low, high = np.quantile(image[part][inside][:: _step(inside)], (0.01, 0.99), axis=0)
        keep[region] = (high - low).max() <= CONSTANT_REGION and _is_straight(inside)
    padding = widen(keep[regions], 1 + PADDING_EDGE).astype(np.uint8)
    return cv2.resize(padding, (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _step(region: np.ndarray) -> int:
    """Between the pixels of a region (h, w) from which its colour is measured."""
    return max(1, int(region.sum()) // MEASURED_PIXELS)


def _is_straight(region: np.ndarray) -> bool:
    """Whether the outline of a region (h, w) consists of long horizontal and vertical lines."""
    total = long = 0
    for outline, line in ((region[:, 1:] != region[:, :-1], (LINE, 1)), (region[1:] != region[:-1], (1, LINE))):
        total += outline.sum()
        long += cv2.morphologyEx(outline.astype(np.uint8), cv2.MORPH_OPEN, np.ones(line, np.uint8)).sum(dtype=np.int64)
    return bool(long >= max(LEAST_LINES, STRAIGHT * total))


def reduce(image: np.ndarray, mpp: float) -> tuple[np.ndarray, float]:
    """The image at the resolution at which tissue is found, or as it is where that is finer than `mpp`; its um/px."""
    if mpp >= WORK_MPP:
        return image, mpp
    size = [max(1, round(n * mpp / WORK_MPP)) for n in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), WORK_MPP


def strips(height: int) -> Iterator[tuple[slice, slice]]:
    """Rows of each strip of an image, those within it that no other strip has."""
    for start in range(0, height, STRIP):
        first, end = max(0, start - OVERLAP), min(height, start + STRIP)
        yield slice(first, min(height, end + OVERLAP)), slice(start - first, end - first)


def widen(region: np.ndarray, pixels: int) -> np.ndarray:
    box = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.dilate(region.astype(np.uint8), box) > 0


def odd(width: float) -> int:
    """The odd number nearest to a width in pixels, at least 3."""
    return max(3, int(width) // 2 * 2 + 1)
