"""Values of tiles as colours over the slide, each over its tile."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.values import is_even, short_text, shuffled_margins, times_mean
from roformermil.slides.thumbnails import Thumbnails

OPACITY = 0.55
RED, BLUE, GREEN, GREY = (200, 30, 40), (30, 70, 200), (0, 105, 60), (150, 150, 150)
SIGNED = np.linspace(-1, 1, 256)[:, None]
BLUE_WHITE_RED = 255 - np.abs(SIGNED) * (255 - np.where(SIGNED < 0, BLUE, RED))
WHITE_GREEN = 255 - np.linspace(0, 1, 256)[:, None] * (255 - np.array(GREEN))
ALL_GREY = np.tile(np.array(GREY, float), (256, 1))
LEAST_ATTENTION = 0.01  # times the mean: less is drawn alike
LEAST_RANGE = 10  # factor that the colours of attention span at least: a small one is not to look large
QUANTILE = 0.99  # of contributions' sizes: the end of their scale
SIGMA = 0.7  # of smoothing, tiles


@dataclass(frozen=True)
class Scale:
    """What colours mean."""

    colours: np.ndarray  # (256, 3), low to high
    ticks: list[tuple[float, str]]  # place on the scale, 0 to 1, and its value
    note: str  # the values of this slide


@dataclass(frozen=True)
class Overlay:
    """A slide under one kind of values."""

    name: str  # in its file's name
    title: str
    picture: Image.Image
    scale: Scale


def draw_overlays(
    thumbnails: Thumbnails,
    features: SlideFeatures,
    prediction: Prediction,
    shown: int,
    classes: list[str],
    shuffled: Prediction | None = None,
    smooth: bool = False,
) -> Iterator[Overlay]:
    """Attention for the class `shown`, grey where it is even; and what each tile adds to its log-odds, where the model's
    prediction can be divided among tiles.

    Full colour of a contribution is the slide's 99th percentile, but at least 1 / n: n tiles of that would move the
    log-odds by 1. So a slide whose tiles contribute little is pale. shuffled: the prediction with the tiles' positions
    shuffled, whose contributions are drawn in the same colours where they differ; smooth: blend each tile's value with its
    neighbours', which the titles then say.
    """
    kind = ", smoothed" if smooth else ""

    def paint(values: np.ndarray, scale: Scale) -> Image.Image:
        return _blend(thumbnails, features, values, scale.colours, smooth)

    values, scale = _attention_colours(prediction.map_attention[:, shown])
    yield Overlay("attention", f"Attention{kind}", paint(values, scale), scale)
    if prediction.margins is None:
        return
    margins = prediction.margins[:, shown]
    task = prediction.task
    limit = max(float(np.quantile(np.abs(margins), QUANTILE)), task.scale / len(margins))
    values, scale = _contribution_colours(margins, limit, shown, classes, task.contribution_unit)
    yield Overlay("contribution", f"Contribution to {classes[shown]}{kind}", paint(values, scale), scale)
    if (others := shuffled_margins(prediction, shuffled, shown)) is None:
        return
    values, scale = _contribution_colours(others[:, shown], limit, shown, classes, task.contribution_unit)
    title = f"The same with tile positions shuffled{kind}"
    yield Overlay("contribution_shuffled", title, paint(values, scale), scale)


def _attention_colours(attention: np.ndarray) -> tuple[np.ndarray, Scale]:
    """Places of attention (n,) on its scale, 0 to 1, which is logarithmic."""
    times = times_mean(attention)
    least, most = float(times.min()), float(times.max())
    if is_even(attention):
        note = f"this slide: {least:.2f} to {most:.2f} times the mean of its tiles"
        return np.full(len(times), 0.5), Scale(ALL_GREY, [(0.5, "even")], note)
    note = f"this slide: {short_text(least)} to {short_text(most)} times the mean of its tiles"
    low = min(max(least, LEAST_ATTENTION), most / LEAST_RANGE)
    span = np.log(most / low)
    values = np.log(times.clip(low) / low) / span
    lowest = f"{'< ' if least < low else ''}{short_text(low)}"
    ticks = [(0.0, lowest), (float(np.log(1 / low) / span), "mean"), (1.0, f"{short_text(most)} times")]
    return values, Scale(WHITE_GREEN, ticks, note)


def _contribution_colours(
    margins: np.ndarray, limit: float, shown: int, classes: list[str], unit: str
) -> tuple[np.ndarray, Scale]:
    """Places of contributions (n,) on a scale from -limit to limit, 0 to 1."""
    least, most = float(margins.min()), float(margins.max())
    low, high = (
        f"{'< ' if least < -limit else ''}-{short_text(limit)}",
        f"{'> ' if most > limit else ''}+{short_text(limit)}",
    )
    meaning = f"blue {f'for {classes[0]}' if len(classes) == 2 else 'against it'}, red for {classes[shown]}"
    if len(classes) == 1:
        meaning = f"blue lowers, red raises the {classes[0]}"
    note = f"{unit} per tile: {meaning}; this slide: {short_text(least, '+')} to {short_text(most, '+')}"
    scale = Scale(BLUE_WHITE_RED, [(0.0, low), (0.5, "0"), (1.0, high)], note)
    return (margins / limit / 2 + 0.5).clip(0, 1), scale


def rasterize(values: np.ndarray, features: SlideFeatures, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Tile values as an image of `shape` (h, w) of a slide of `size` (w, h) level-0 pixels; NaN outside tiles."""
    image = np.full(shape, np.nan, np.float32)
    for ((x0, y0), (x1, y1)), value in zip(tile_boxes(features, size, shape), values, strict=True):
        image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = value
    return image


def tile_boxes(features: SlideFeatures, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Top-left and bottom-right corners of tiles in the pixels of such an image: (n, 2, 2) int."""
    corners = np.stack([features.coords, features.coords + int(features.attributes["base_px"])], axis=1)
    return (corners * (np.array(shape[::-1]) / size)).round().astype(int)


def smooth_tiles(image: np.ndarray, tile_px: float) -> np.ndarray:
    """An image of `rasterize` smoothed by a Gaussian of SIGMA tiles of `tile_px`, as if nothing were outside tiles."""
    inside, sigma = np.isfinite(image), max(0.5, SIGMA * tile_px)
    weights = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    sums = cv2.GaussianBlur(np.where(inside, image, 0), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.where(inside, sums / np.where(inside, weights, 1), np.nan)


def _blend(
    thumbnails: Thumbnails, features: SlideFeatures, values: np.ndarray, colours: np.ndarray, smooth: bool
) -> Image.Image:
    """The slide under its tiles' values, 0 to 1, in colours (256, 3); pixels outside tiles as they are."""
    slide = thumbnails.whole
    image = rasterize(values, features, thumbnails.size, slide.shape[:2])
    if smooth:
        image = smooth_tiles(image, int(features.attributes["base_px"]) * slide.shape[1] / thumbnails.size[0])
    painted = colours.round().astype(np.uint8)[np.nan_to_num(image * 255).clip(0, 255).astype(np.uint8)]
    mixed = cv2.addWeighted(painted, OPACITY, slide, 1 - OPACITY, 0)
    return Image.fromarray(np.where(np.isfinite(image)[..., None], mixed, slide))
