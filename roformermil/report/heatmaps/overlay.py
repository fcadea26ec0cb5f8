"""Values of tiles as colours over the slide, each at its tile's place."""

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


@dataclass(frozen=True)
class Overlay:
    """A slide with one kind of values over it."""

    name: str  # of its file
    title: str
    picture: Image.Image
    low: str  # what the colours' ends mean
    high: str
    colours: np.ndarray  # (256, 3), low to high


def overlays(
    views: Thumbnails, features: SlideFeatures, answer: Prediction, shown: int, classes: list[str]
) -> Iterator[Overlay]:
    """Attention for a class, as ranks; what each tile adds to its log-odds, where the model has such a thing.

    Full colour is the slide's 99th percentile, and 1 / n at least: n tiles of that would move the log-odds by 1. So a slide
    whose tiles say little is pale.
    """
    inferno, diverging = _colour_tables()
    peak = answer.attention[:, shown].max() * len(features.coords)
    attention = raster(ranks(answer.attention[:, shown]), features, views.size, views.whole.shape[:2])
    yield Overlay(
        "attention",
        "attention (rank)",
        _over(views.whole, attention, inferno),
        "least",
        f"most ({peak:.1f} x even)",
        inferno,
    )
    if answer.margins is None:
        return
    parts = answer.margins[:, shown]
    largest = max(float(np.quantile(np.abs(parts), 0.99)), 1 / len(parts))
    signed = raster((parts / largest / 2 + 0.5).clip(0, 1), features, views.size, views.whole.shape[:2])
    yield Overlay(
        "contribution", f"contribution to {classes[shown]}", _over(views.whole, signed, diverging),
        f"-{largest:.2g}", f"+{largest:.2g} log-odds", diverging,
    )  # fmt: skip


def ranks(values: np.ndarray) -> np.ndarray:
    """Values as fractions of the tiles that have less, 0 to 1; equal values have the same."""
    order = np.sort(values)
    below, upto = np.searchsorted(order, values), np.searchsorted(order, values, side="right")
    return (below + upto - 1) / max(1, 2 * (len(values) - 1))


def raster(values: np.ndarray, features: SlideFeatures, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Tile values laid over a view of `shape` (h, w) of a slide of `size` (width, height) level-0 pixels; NaN between tiles."""
    height, width = shape
    image, step = np.full(shape, np.nan, np.float32), int(features.attributes["base_px"])
    scale = np.array([width, height]) / size
    corners = np.stack([features.coords, features.coords + step], axis=1) * scale  # (n, 2, 2)
    for ((x0, y0), (x1, y1)), value in zip(corners.round().astype(int), values, strict=True):
        image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = value
    return image


def _over(view: np.ndarray, values: np.ndarray, colours: np.ndarray) -> Image.Image:
    """The view with values (NaN: none) in the colours of a table over it."""
    there = np.isfinite(values)
    painted = colours[np.nan_to_num(values * 255).clip(0, 255).astype(int)]
    mixed = np.where(there[..., None], OPACITY * painted + (1 - OPACITY) * view, view)
    return Image.fromarray(mixed.round().astype(np.uint8))


def _colour_tables() -> tuple[np.ndarray, np.ndarray]:
    """Low to high for attention; blue over white to red for contributions, nothing in the middle."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    inferno = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[:, 0, ::-1].astype(float)
    at = np.linspace(-1, 1, 256)[:, None]
    diverging = 255 - np.abs(at) * (255 - np.where(at < 0, np.array(BLUE), np.array(RED)))
    return inferno, diverging
