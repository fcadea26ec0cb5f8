"""Tissue as what differs from the slide's own background in colour, darkness or texture; padding, which is neither.

Colours are CIE Lab: L is lightness (0 to 100), a and b are colour; a difference of about 2 is just visible. The values
below were chosen on the H&E, immunohistochemistry, Congo red, CISH and Giemsa slides of benchmarks/README.md, and hold
when these are tinted, darkened, padded or noisy.
"""

from dataclasses import dataclass

import cv2
import numpy as np

WORK_MPP = 8.0  # um/px; finer overviews are reduced to this, coarser ones are used as they are
BLUR_UM = 8.0  # standard deviation of the blur that removes noise before colours are compared
TEXTURE_UM, FLATNESS_UM = 12.0, 24.0  # likewise of the windows in which lightness varies: at tissue, on glass
CLEAN_UM = 40.0  # width of the median filter and of the closing

STAINED = 4.0  # what differs more from the glass is tissue
PALE, TEXTURED = 1.5, 0.6  # what differs less is tissue if its lightness varies more (standard deviation)
SOLID_UM, FRINGE_UM = 72.0, 24.0  # width of stained regions with a fringe of compressed pixels; the fringe's
NOISE_FACTOR, PALE_NOISE_FACTOR, TEXTURE_FACTOR = 3.0, 1.5, 2.0  # each limit is at least this many times the glass' own

DARKEST_GLASS = 60.0  # lightness
GLASS_CHROMA, CHROMA_BESIDE_WHITE = 40.0, 15.0  # strongest tint; where all else is pure white, that may be the glass
FLAT_FRACTION = 0.25  # of the pixels that may be glass: those with the least texture
GLASS_TEXTURE = 0.7  # standard deviation of lightness: glass has at most 0.5, pale tissue 0.7 to 2, other tissue more
SAME_COLOUR = 1.5  # pixels of one glass differ less, where the light is even
PEAK = 0.1  # peaks of the histogram of lightness count from this fraction of the highest
FEWEST_PIXELS = 20  # from which a colour is estimated
BRIGHTEST = 0.98  # quantile of the lightness that stands for the glass where nothing is smooth

SURFACE_STEPS, SURFACE_RANGE = 6, 3.0  # the estimate of uneven light: repetitions, largest difference of glass from it
SURFACE_POINTS, SURFACE_GAIN = 5_000, 1.25  # uneven light is assumed if it explains this many times more glass

UNSCANNED, UNSCANNED_UM = 253, 72.0  # of 255: where nothing was scanned, all channels are at least this; width
BLACK, BLACK_WINDOW = 30, 5  # of 255: black padding is darker; width in pixels of the window in which it varies little
BLACK_DEVIATION, BLACK_RANGE = 4.0, 10.0  # of 255: standard deviation in the window, difference across all padding
LEAST_PADDING_UM2, RECTANGLE = 16384.0, 0.9  # inside the slide it fills this fraction of its bounding box
PADDING_EDGE = 1  # pixels around padding that are a mixture with it


@dataclass(frozen=True)
class _Glass:
    colour: np.ndarray  # Lab, (3,); (h, w, 3) where the light is uneven
    pixels: np.ndarray  # (h, w) bool: where it was measured

    def typical(self, values: np.ndarray) -> float:
        """Median over the glass of values (h, w), 0 where there is no glass."""
        return float(np.median(values[self.pixels])) if self.pixels.any() else 0.0


def find_padding(image: np.ndarray, mpp: float) -> np.ndarray:
    """Where the file is filled with near-black: (h, w) bool. image: (h, w, 3) uint8 RGB at `mpp`.

    Padding has one even colour and reaches the slide's border or is a rectangle; dark tissue, pigment and pen are neither.
    """
    grey = image.max(axis=2).astype(np.float32)
    window = (BLACK_WINDOW, BLACK_WINDOW)
    mean = cv2.blur(grey, window, borderType=cv2.BORDER_REPLICATE)
    variance = cv2.blur(grey**2, window, borderType=cv2.BORDER_REPLICATE) - mean**2
    even = (mean <= BLACK) & (variance <= BLACK_DEVIATION**2)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(even.astype(np.uint8), connectivity=8)
    x, y, width, height, area = stats.T
    at_border = (x == 0) | (y == 0) | (x + width == even.shape[1]) | (y + height == even.shape[0])
    keep = (area * mpp**2 >= LEAST_PADDING_UM2) & (at_border | (area >= RECTANGLE * width * height))
    keep[0] = False  # the rest of the slide
    for region in np.flatnonzero(keep):
        darkest, brightest = np.quantile(mean[regions == region], (0.01, 0.99))
        keep[region] = brightest - darkest <= BLACK_RANGE
    # back to its full size, which the mean has reduced
    black = _widen(keep[regions], BLACK_WINDOW // 2 + 1) & (grey <= BLACK)
    return _widen(black, PADDING_EDGE)


def find_tissue(image: np.ndarray, padding: np.ndarray, mpp: float) -> np.ndarray:
    """Where the slide differs from its background: (h, w) of 0 and 1, small regions and holes included.

    image: (h, w, 3) uint8 RGB at `mpp`; padding: (h, w) bool, from `find_padding`.
    """
    height, width = image.shape[:2]
    if mpp < WORK_MPP:
        small = (max(1, round(width * mpp / WORK_MPP)), max(1, round(height * mpp / WORK_MPP)))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        padding = cv2.resize(padding.astype(np.uint8), small, interpolation=cv2.INTER_NEAREST) > 0
    mask = _differing(image, padding, max(mpp, WORK_MPP))
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)


def _differing(image: np.ndarray, padding: np.ndarray, mpp: float) -> np.ndarray:
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    box = np.ones((_odd(UNSCANNED_UM / mpp),) * 2, np.uint8)
    white = cv2.morphologyEx((image.min(axis=2) >= UNSCANNED).astype(np.uint8), cv2.MORPH_OPEN, box) > 0
    glass = _estimate_glass(lab, padding, white, mpp)
    difference = _difference(_blur(lab, BLUR_UM / mpp), glass.colour)
    texture = _texture(lab[..., 0], TEXTURE_UM / mpp)
    noise = glass.typical(difference)
    stained = difference > max(STAINED, NOISE_FACTOR * noise)
    textured = texture > max(TEXTURED, TEXTURE_FACTOR * glass.typical(texture))
    pale = textured & (difference > max(PALE, PALE_NOISE_FACTOR * noise))
    box = np.ones((_odd(SOLID_UM / mpp),) * 2, np.uint8)
    solid = cv2.morphologyEx(stained.astype(np.uint8), cv2.MORPH_OPEN, box)
    pale &= ~_widen(solid, round(FRINGE_UM / mpp))
    width = _odd(CLEAN_UM / mpp)
    mask = cv2.medianBlur((stained | pale).astype(np.uint8), width)
    mask = cv2.dilate(mask, np.ones((width, width), np.uint8))
    mask = cv2.erode(mask, np.ones((width + 2, width + 2), np.uint8))  # by a pixel more: the windows have widened it
    return mask * (~padding & ~white)


def _estimate_glass(lab: np.ndarray, padding: np.ndarray, white: np.ndarray, mpp: float) -> _Glass:
    """The glass: the brightest frequent colour among the parts of the slide with the least texture.

    white: (h, w) bool, pure white. It may be the glass of a slide with adjusted levels, or padding beside real glass.
    """
    smooth = _blur(lab, BLUR_UM / mpp)
    texture = _texture(_blur(lab[..., 0], BLUR_UM / mpp), FLATNESS_UM / mpp)
    lightness, chroma = smooth[..., 0], np.hypot(smooth[..., 1], smooth[..., 2])
    possible = (lightness > DARKEST_GLASS) & ~_widen(padding | white, PADDING_EDGE)
    possible &= chroma < (CHROMA_BESIDE_WHITE if white.any() else GLASS_CHROMA)
    pure_white = _Glass(np.array([100.0, 0.0, 0.0], np.float32), white)
    if possible.sum() < FEWEST_PIXELS:
        return pure_white
    flat = possible & (texture <= np.quantile(texture[possible], FLAT_FRACTION))
    pixels = flat & (np.abs(lightness - _brightest_peak(lightness[flat])) < 1)
    colour = np.median(smooth[pixels], axis=0)
    pixels &= np.linalg.norm(smooth - colour, axis=2) < SAME_COLOUR
    glass = _Glass(colour, pixels)
    if glass.typical(texture) > GLASS_TEXTURE:
        if white.any():
            return pure_white
        # hardly any glass, or a noisy slide
        brightest = possible & (lightness >= np.quantile(lightness[possible], BRIGHTEST))
        return _Glass(np.median(smooth[brightest], axis=0), brightest)
    flat = possible & (texture <= max(GLASS_TEXTURE / 2, 1.5 * glass.typical(texture)))
    return _follow_light(smooth, flat, glass)


def _brightest_peak(lightness: np.ndarray) -> float:
    edges = np.arange(DARKEST_GLASS, 101, 0.5)
    counts = np.histogram(lightness, edges)[0].astype(np.float32)[None]
    counts = _blur(counts, 1)
    highest_near = cv2.dilate(counts, np.ones((1, 9), np.uint8))
    peaks = (counts == highest_near) & (counts > PEAK * counts.max())
    return float(edges[np.flatnonzero(peaks[0])[-1]] + 0.25)


def _follow_light(smooth: np.ndarray, flat: np.ndarray, glass: _Glass) -> _Glass:
    """The glass under uneven light: each channel a quadratic function of the position, fitted to the flat parts that are
    near to it, and kept within the values found there. The given glass where this explains little more."""
    height, width = flat.shape
    y, x = (axis[:: max(1, flat.sum() // SURFACE_POINTS)] for axis in np.nonzero(flat))
    values, basis = smooth[y, x], np.stack(_quadratic(x / width, y / height), axis=1)
    surface = np.broadcast_to(glass.colour, values.shape)
    explained = (np.linalg.norm(values - surface, axis=1) < 1).sum()
    for _ in range(SURFACE_STEPS):
        near = np.linalg.norm(values - surface, axis=1) < SURFACE_RANGE
        if near.sum() < FEWEST_PIXELS:
            return glass
        coefficients = np.linalg.lstsq(basis[near], values[near], rcond=None)[0]
        surface = basis @ coefficients
        low, high = np.quantile(surface[near], (0.01, 0.99), axis=0)
        surface = surface.clip(low, high)
    if (np.linalg.norm(values - surface, axis=1) < 1).sum() < SURFACE_GAIN * explained:
        return glass
    terms = _quadratic(np.arange(width)[None] / width, np.arange(height)[:, None] / height)
    channels = [sum(c * term for c, term in zip(column, terms, strict=True)) for column in coefficients.T]
    colour = np.stack(channels, axis=2).clip(low, high).astype(np.float32)
    return _Glass(colour, flat & (np.linalg.norm(smooth - colour, axis=2) < SURFACE_RANGE))


def _quadratic(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    return [np.ones_like(x), x, y, x * x, x * y, y * y]


def _difference(lab: np.ndarray, glass: np.ndarray) -> np.ndarray:
    """How much darker than the glass and how differently coloured: (h, w). What is brighter does not count as darker."""
    difference = lab - glass
    return np.hypot(np.maximum(-difference[..., 0], 0), np.hypot(difference[..., 1], difference[..., 2]))


def _texture(lightness: np.ndarray, sigma: float) -> np.ndarray:
    """Standard deviation of the lightness in a Gaussian window of `sigma` pixels."""
    mean = _blur(lightness, max(1.0, sigma))
    return np.sqrt(np.maximum(_blur(lightness**2, max(1.0, sigma)) - mean**2, 0))


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def _widen(region: np.ndarray, pixels: int) -> np.ndarray:
    box = np.ones((2 * pixels + 1,) * 2, np.uint8)
    return cv2.dilate(region.astype(np.uint8), box) > 0


def _odd(width: float) -> int:
    """The odd number nearest to a width in pixels, at least 3."""
    return max(3, int(width) // 2 * 2 + 1)
