"""What lies on a slide and is no tissue, or tissue that misleads: pen marks and folds."""

import cv2
import numpy as np

MARGIN = 40.0  # um around ink: its edge is pale
SMOOTH = 24.0  # um: folds are wider than nuclei
DARK, FAR = -0.3, 2.5  # a fold's saturation less its intensity: at least this, and so many deviations from the usual

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


def folds(image: np.ndarray, mask: np.ndarray, mpp: float) -> np.ndarray:
    """Where tissue lies double or more: saturation above intensity (Kothari et al. 2013, doi 10.4103/2153-3539.117448), far
    from what the slide's own tissue has. Careful rather than complete: pale tissue has pale folds, which stay.

    image: (h, w, 3) uint8 RGB at `mpp`, mask: (h, w) tissue. Returns (h, w) bool.
    """
    smooth = cv2.GaussianBlur(image, (0, 0), SMOOTH / mpp)
    _, saturation, value = (
        channel.astype(float) / 255 for channel in cv2.split(cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV))
    )
    excess, tissue = saturation - value, mask > 0
    if not tissue.any():
        return tissue
    usual = np.median(excess[tissue])
    spread = 1.4826 * np.median(np.abs(excess[tissue] - usual))  # of a normal distribution, its standard deviation
    return tissue & (excess > max(DARK, usual + FAR * spread))
