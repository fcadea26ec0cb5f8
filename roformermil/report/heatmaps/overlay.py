"""Values of tiles as colours over the slide, each over its tile."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.slides.thumbnails import Thumbnails

OPACITY = 0.55
RED, BLUE = (200, 30, 40), (30, 70, 200)
INFERNO = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(float)
SIGNED = np.linspace(-1, 1, 256)[:, None]
BLUE_WHITE_RED = 255 - np.abs(SIGNED) * (255 - np.where(SIGNED < 0, BLUE, RED))


@dataclass(frozen=True)
class Overlay:
    """A slide under one kind of values."""

    name: str  # in its file's name
    title: str
    picture: Image.Image
    low: str  # what the colours' ends mean
    high: str
    colours: np.ndarray  # (256, 3), low to high


def draw_overlays(
    thumbnails: Thumbnails, features: SlideFeatures, prediction: Prediction, shown: int, classes: list[str]
) -> Iterator[Overlay]:
    """Attention for the class `shown`, as ranks; and what each tile adds to its log-odds, where the model's prediction
    can be divided among tiles.

    Full colour of a contribution is the slide's 99th percentile, but at least 1 / n: n tiles of that would move the
    log-odds by 1. So a slide whose tiles contribute little is pale.
    """
    attention = prediction.attention[:, shown]
    picture = _blend(thumbnails, features, rank_fractions(attention), INFERNO)
    peak = f"most ({attention.max() * len(attention):.1f} times the mean)"
    yield Overlay("attention", "attention (rank)", picture, "least", peak, INFERNO)
    if prediction.margins is None:
        return
    margins = prediction.margins[:, shown]
    limit = max(float(np.quantile(np.abs(margins), 0.99)), 1 / len(margins))
    picture = _blend(thumbnails, features, (margins / limit / 2 + 0.5).clip(0, 1), BLUE_WHITE_RED)
    title, low, high = f"contribution to {classes[shown]}", f"-{limit:.2g}", f"+{limit:.2g} log-odds"
    yield Overlay("contribution", title, picture, low, high, BLUE_WHITE_RED)


def rank_fractions(values: np.ndarray) -> np.ndarray:
    """The fraction of the other tiles that have a smaller value, 0 to 1; equal values share their mean rank."""
    order = np.sort(values)
    smaller, smaller_or_equal = np.searchsorted(order, values), np.searchsorted(order, values, side="right")
    return (smaller + smaller_or_equal - 1) / max(1, 2 * (len(values) - 1))


def rasterize(values: np.ndarray, features: SlideFeatures, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Tile values as an image of `shape` (h, w) of a slide of `size` (w, h) level-0 pixels; NaN outside tiles."""
    image, base_px = np.full(shape, np.nan, np.float32), int(features.attributes["base_px"])
    scale = np.array(shape[::-1]) / size
    corners = np.stack([features.coords, features.coords + base_px], axis=1) * scale  # (n, 2, 2)
    for ((x0, y0), (x1, y1)), value in zip(corners.round().astype(int), values, strict=True):
        image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = value
    return image


def _blend(thumbnails: Thumbnails, features: SlideFeatures, values: np.ndarray, colours: np.ndarray) -> Image.Image:
    """The slide under its tiles' values, 0 to 1, in colours (256, 3); pixels outside tiles as they are."""
    slide = thumbnails.whole
    image = rasterize(values, features, thumbnails.size, slide.shape[:2])
    painted = colours[np.nan_to_num(image * 255).clip(0, 255).astype(int)]
    mixed = np.where(np.isfinite(image)[..., None], OPACITY * painted + (1 - OPACITY) * slide, slide)
    return Image.fromarray(mixed.round().astype(np.uint8))
