"""What lies on a slide and is no tissue, or tissue that misleads: pen marks and folds."""

import cv2
import numpy as np

MARGIN = 40.0  # um around ink: its edge is pale
FOLD = 0.1  # of 1: how much more saturated than bright a fold is, and than the slide's own tissue

# Inks by hue (0 to 179, as OpenCV has it), least saturation and range of values. Haematoxylin, eosin and DAB lie at hues
# of 120 to 179 and 5 to 20: inks between them are told by hue, red and black only by being far deeper than any stain.
INKS = {
    "green": ((35, 95), 60, (30, 255)),
    "blue": ((96, 118), 120, (30, 255)),
    "red": ((170, 184), 190, (120, 255)),
    "black": ((0, 180), 0, (0, 45)),
}


def pen_marks(image: np.ndarray, mpp: float) -> np.ndarray:
    """Where there is ink, with a margin. image: (h, w, 3) uint8 RGB at `mpp`. Returns (h, w) bool."""
    hue, saturation, value = (c.astype(int) for c in cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)))
    ink = np.zeros(hue.shape, np.uint8)
    for (first, last), least, (dark, bright) in INKS.values():
        hues = (hue - first) % 180 <= last - first
        ink |= (hues & (saturation >= least) & (dark <= value) & (value <= bright)).astype(np.uint8)
    strokes = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # single pixels are pigment
    width = 2 * round(MARGIN / mpp) + 1
    return cv2.dilate(strokes, np.ones((width, width), np.uint8)).astype(bool)


def folds(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Where tissue lies double: saturation above intensity (Kothari et al. 2013, doi 10.4103/2153-3539.117448), by more than
    the slide's own tissue. image: (h, w, 3) uint8 RGB, mask: (h, w) tissue. Returns (h, w) bool."""
    _, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV))
    excess = (
        np.asarray(cv2.medianBlur(cv2.subtract(saturation, value), 3), float) / 255
    )  # 0 where brighter than saturated
    usual = np.median(excess[mask > 0]) if mask.any() else 0.0
    return (mask > 0) & (excess > usual + FOLD)
