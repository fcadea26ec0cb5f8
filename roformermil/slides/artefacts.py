"""Artefacts that a tissue mask should leave out: pen marks and tissue folds."""

import cv2
import numpy as np

INK_MARGIN_UM = 40.0  # around ink, whose edge is pale
FOLD_BLUR_UM = 24.0  # folds are wider than nuclei
# A fold's saturation minus its intensity: at least this, and so many standard deviations above the slide's median.
FOLD_EXCESS, FOLD_DEVIATIONS = -0.3, 2.5

# Inks: range of hues (0 to 179, as in OpenCV), least saturation, range of values. Haematoxylin, eosin and DAB have hues
# of 120 to 179 and 5 to 20. Inks between these are recognised by hue, red and black by being much deeper than stains.
INKS = {
    "green": ((35, 95), 60, (30, 255)),
    "blue": ((96, 118), 120, (30, 255)),
    "red": ((170, 184), 190, (120, 255)),
    "black": ((0, 180), 0, (0, 45)),
}


def pen_marks(image: np.ndarray, mpp: float) -> np.ndarray:
    """Where there is ink, with a margin: (h, w) bool. image: (h, w, 3) uint8 RGB at `mpp`."""
    hue, saturation, value = (c.astype(int) for c in cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)))
    ink = np.zeros(hue.shape, np.uint8)
    for (first_hue, last_hue), least_saturation, (darkest, brightest) in INKS.values():
        hues = (hue - first_hue) % 180 <= last_hue - first_hue
        ink |= (hues & (saturation >= least_saturation) & (darkest <= value) & (value <= brightest)).astype(np.uint8)
    strokes = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # drops single pixels, which are pigment
    width = 2 * round(INK_MARGIN_UM / mpp) + 1
    return cv2.dilate(strokes, np.ones((width, width), np.uint8)).astype(bool)


def tissue_folds(image: np.ndarray, mask: np.ndarray, mpp: float) -> np.ndarray:
    """Where tissue is folded: (h, w) bool. image: (h, w, 3) uint8 RGB at `mpp`; mask: (h, w) tissue.

    A fold is more saturated than bright (Kothari et al. 2013, doi 10.4103/2153-3539.117448), by far more than the rest
    of the slide's tissue. Specific rather than sensitive: folds of pale tissue are not recognised.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), FOLD_BLUR_UM / mpp)
    _, saturation, value = (c.astype(float) / 255 for c in cv2.split(cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV)))
    excess, tissue = saturation - value, mask > 0
    if not tissue.any():
        return tissue
    median = np.median(excess[tissue])
    deviation = 1.4826 * np.median(np.abs(excess[tissue] - median))  # robust standard deviation
    return tissue & (excess > max(FOLD_EXCESS, median + FOLD_DEVIATIONS * deviation))
