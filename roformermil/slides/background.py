"""Tissue as what differs from the slide's own background in colour, darkness or texture.

Colours are CIE Lab: L is lightness (0 to 100), a and b are colour; a difference of about 2 is just visible. The values
below were chosen on the H&E, immunohistochemistry, Congo red, CISH and Giemsa slides of benchmarks/README.md, and hold
when these are tinted, darkened, padded or noisy.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from roformermil.slides.padding import PADDING_EDGE, odd, reduce, strips, widen

BLUR_UM = 8.0  # standard deviation of the blur that removes noise before colours are compared
TEXTURE_UM, FLATNESS_UM = 12.0, 24.0  # likewise of the windows in which lightness varies: at tissue, on glass
CLEAN_UM = 40.0  # width of the median filter and of the closing

STAINED = 4.0  # what differs more from the glass is tissue
PALE, TEXTURED = 1.5, 0.6  # what differs less is tissue if its lightness varies more (standard deviation)
SOLID_UM, FRINGE_UM = 72.0, 24.0  # width of stained regions with a fringe of compressed pixels; the fringe's
NOISE_FACTOR, PALE_NOISE_FACTOR, TEXTURE_FACTOR = 3.0, 1.5, 2.0  # each limit is at least this many times the glass' own

DARKEST_GLASS = 60.0  # lightness
# If it is grey, glass may be darker than that: this fraction of the lightness at this quantile.
GREY_CHROMA, DARKER_GLASS, LIGHT_QUANTILE = 10.0, 0.85, 0.99
GLASS_CHROMA = 45.0  # strongest tint
FLAT_FRACTION = 0.25  # of the pixels that may be glass: those with the least texture
GLASS_TEXTURE = 0.7  # standard deviation of lightness: glass has at most 0.5, pale tissue 0.7 to 2, other tissue more
SAME_COLOUR = 1.5  # pixels of one glass differ less, where the light is even
PEAK = 0.1  # peaks of the histogram of lightness count from this fraction of the highest
FILLED_COLOURS = 3  # of padding, at most, each of which may be the glass where nothing else may
FEWEST_PIXELS = 20  # from which a colour is estimated
BRIGHTEST = 0.98  # quantile of the lightness that stands for the glass where nothing is smooth

SURFACE_STEPS, SURFACE_RANGE = 6, 3.0  # the estimate of uneven light: repetitions, largest difference of glass from it
SURFACE_POINTS, SURFACE_GAIN = 5_000, 1.25  # uneven light is assumed if it explains this many times more glass

ESTIMATED_PIXELS = 4_000_000  # from which the glass is estimated


@dataclass(frozen=True)
class _Glass:
    colour: np.ndarray  # Lab, (3,); or where the light is uneven (6, 3), the coefficients of `_quadratic`
    pixels: np.ndarray  # (h, w) bool: where it was measured
    limits: tuple[np.ndarray, np.ndarray] | None = None  # of the colour, where the light is uneven
    others: tuple[np.ndarray, ...] = ()  # more colours that may be the glass

    def colour_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Lab at positions from 0 to 1 of columns (1, w) and rows (h, 1): (3,) or (h, w, 3)."""
        if self.limits is None:
            return self.colour
        channels = [sum(c * term for c, term in zip(column, _quadratic(x, y), strict=True)) for column in self.colour.T]
        return np.stack(channels, axis=2).clip(*self.limits).astype(np.float32)

    def colours_at(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        return [self.colour_at(x, y), *self.others]

    def typical(self, values: np.ndarray) -> float:
        """Median over the glass of values (h, w), 0 where there is no glass."""
        return float(np.median(values[self.pixels])) if self.pixels.any() else 0.0


@dataclass(frozen=True)
class _Features:
    """Of each pixel, (h, w)."""

    smooth: np.ndarray  # Lab without noise, (h, w, 3)
    texture: np.ndarray  # in windows for tissue
    roughness: np.ndarray  # in windows for glass


def find_tissue(image: np.ndarray, padding: np.ndarray, mpp: float) -> np.ndarray:
    """Where the slide differs from its background: (h, w) of 0 and 1, small regions and holes included.

    image: (h, w, 3) uint8 RGB at `mpp`; padding: (h, w) bool, from `find_padding`.
    """
    height, width = image.shape[:2]
    image, mpp = reduce(image, mpp)
    padding = cv2.resize(padding.astype(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    return cv2.resize(_differing(image, padding, mpp), (width, height), interpolation=cv2.INTER_NEAREST)


def _differing(image: np.ndarray, padding: np.ndarray, mpp: float) -> np.ndarray:
    height, width = padding.shape
    x, y = np.arange(width)[None] / width, np.arange(height)[:, None] / height
    step = int(np.ceil((padding.size / ESTIMATED_PIXELS) ** 0.5))
    parts = []
    for rows, kept in strips(height):
        features, chosen = _measure(image[rows], mpp), slice(-(rows.start + kept.start) % step, None, step)
        parts.append([values[kept][chosen, ::step].copy() for values in vars(features).values()])
    sample = _Features(*map(np.concatenate, zip(*parts, strict=True)))
    glass = _estimate_glass(sample, padding[::step, ::step], mpp * step)
    noise = glass.typical(_difference(sample.smooth, glass.colours_at(x[:, ::step], y[::step])))
    textured_from = max(TEXTURED, TEXTURE_FACTOR * glass.typical(sample.texture))
    del parts, sample
    stained, pale = np.zeros((2, height, width), np.uint8)
    for rows, kept in strips(height):
        features = _measure(image[rows], mpp)
        difference = _difference(features.smooth, glass.colours_at(x, y[rows]))
        textured = features.texture > textured_from
        stained[rows][kept] = (difference > max(STAINED, NOISE_FACTOR * noise))[kept]
        pale[rows][kept] = (textured & (difference > max(PALE, PALE_NOISE_FACTOR * noise)))[kept]
    box = np.ones((odd(SOLID_UM / mpp),) * 2, np.uint8)
    solid = cv2.morphologyEx(stained, cv2.MORPH_OPEN, box)
    pale &= ~widen(solid, round(FRINGE_UM / mpp))
    width = odd(CLEAN_UM / mpp)
    mask = cv2.medianBlur(stained | pale, width)
    mask = cv2.dilate(mask, np.ones((width, width), np.uint8))
    mask = cv2.erode(mask, np.ones((width + 2, width + 2), np.uint8))  # by a pixel more: the windows have widened it
    return mask * ~padding


def _measure(image: np.ndarray, mpp: float) -> _Features:
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    smooth, lightness = _blur(lab, BLUR_UM / mpp), np.ascontiguousarray(lab[..., 0])
    roughness = _texture(_blur(lightness, BLUR_UM / mpp), FLATNESS_UM / mpp)
    return _Features(smooth, _texture(lightness, TEXTURE_UM / mpp), roughness)


def _estimate_glass(sample: _Features, padding: np.ndarray, mpp: float) -> _Glass:
    """The glass: the brightest frequent colour among the parts of the slide with the least texture.

    Where all is rough, the colours of bright padding: one may be the glass of a slide with adjusted levels.
    """
    smooth, texture = sample.smooth, sample.roughness
    lightness, chroma = smooth[..., 0], np.hypot(smooth[..., 1], smooth[..., 2])
    scanned = ~widen(padding, PADDING_EDGE)
    white = _Glass(np.array([100.0, 0.0, 0.0], np.float32), padding)
    if scanned.sum() < FEWEST_PIXELS:
        return white
    darkest = np.where(
        chroma < GREY_CHROMA, DARKER_GLASS * np.quantile(lightness[scanned], LIGHT_QUANTILE), DARKEST_GLASS
    )
    possible = scanned & (lightness > np.minimum(darkest, DARKEST_GLASS)) & (chroma < GLASS_CHROMA)
    glass = _most_even(sample, possible, FLAT_FRACTION)
    if glass is not None and glass.typical(texture) <= GLASS_TEXTURE:
        flat = possible & (texture <= max(GLASS_TEXTURE / 2, 1.5 * glass.typical(texture)))
        return _follow_light(smooth, flat, glass)
    inside = ~widen(~padding, max(1, round(4 * BLUR_UM / mpp)))  # where nothing is blurred into it
    filled = inside & (lightness > DARKEST_GLASS) & (chroma < GLASS_CHROMA)
    glasses: list[_Glass] = []
    while len(glasses) < FILLED_COLOURS and (glass := _most_even(sample, filled, 1.0)):
        glasses.append(glass)
        filled &= np.linalg.norm(smooth - glass.colour, axis=2) >= SAME_COLOUR
    if glasses:
        return replace(glasses[0], others=tuple(glass.colour for glass in glasses[1:]))
    # hardly any glass, or a noisy slide
    if possible.sum() < FEWEST_PIXELS:
        return white
    brightest = possible & (lightness >= np.quantile(lightness[possible], BRIGHTEST))
    return _Glass(np.median(smooth[brightest], axis=0), brightest)


def _most_even(sample: _Features, possible: np.ndarray, fraction: float) -> _Glass | None:
    """The brightest frequent colour among this fraction of the possible pixels (h, w); None where these are few."""
    if possible.sum() < FEWEST_PIXELS:
        return None
    smooth, texture, lightness = sample.smooth, sample.roughness, sample.smooth[..., 0]
    flat = possible & (texture <= np.quantile(texture[possible], fraction))
    pixels = flat & (np.abs(lightness - _brightest_peak(lightness[flat])) < 1)
    colour = np.median(smooth[pixels], axis=0)
    return _Glass(colour, pixels & (np.linalg.norm(smooth - colour, axis=2) < SAME_COLOUR))


def _brightest_peak(lightness: np.ndarray) -> float:
    edges = np.arange(0, 101, 0.5)
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
    glass = _Glass(coefficients, flat, (low, high))
    colour = glass.colour_at(np.arange(width)[None] / width, np.arange(height)[:, None] / height)
    return _Glass(coefficients, flat & (np.linalg.norm(smooth - colour, axis=2) < SURFACE_RANGE), (low, high))


def _quadratic(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    return [np.ones_like(x), x, y, x * x, x * y, y * y]


def _difference(lab: np.ndarray, colours: list[np.ndarray]) -> np.ndarray:
    """How much darker than the glass and how differently coloured: (h, w). What is brighter does not count as darker.

    colours: of the glass; the nearest counts.
    """
    nearest = np.full(lab.shape[:2], np.inf, np.float32)
    for colour in colours:
        difference = lab - colour
        darker, tint = np.maximum(-difference[..., 0], 0), np.hypot(difference[..., 1], difference[..., 2])
        nearest = np.minimum(nearest, np.hypot(darker, tint))
    return nearest


def _texture(lightness: np.ndarray, sigma: float) -> np.ndarray:
    """Standard deviation of the lightness in a Gaussian window of `sigma` pixels."""
    mean = _blur(lightness, max(1.0, sigma))
    return np.sqrt(np.maximum(_blur(lightness**2, max(1.0, sigma)) - mean**2, 0))


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)
