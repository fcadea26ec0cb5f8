"""Heat maps: where a model looked on a slide, what it found there, at the right place.

For each slide a sheet to look at (`{slide_id}.jpg`) and tiles with their values for QuPath (`{slide_id}.geojson`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roformermil.features.store import Features
from roformermil.files import atomic_path, write_text
from roformermil.isolation import isolated
from roformermil.models.trained import Answer
from roformermil.slides.views import Views, look
from roformermil.status import Status

SIDE, TILE = 560, 88  # pixels: a view's longer side, a tile's
STRIP, GAP, LINE = 8, 6, 18  # tiles in a strip; pixels of a gap and of a line of text
COLUMN, SCALE = 200, (80, 10)  # pixels: of a panel at least, so that its title fits; of a colour scale
OPACITY = 0.55
RED, BLUE, DARK = (200, 30, 40), (30, 70, 200), (40, 40, 40)


def draw_slide(
    row: Status,
    features: Features,
    answer: Answer,
    classes: list[str],
    out: Path,
    label: str = "",
    timeout: float = 600,
) -> None:
    """Write a slide's sheet and its tiles for QuPath into `out`, for the class that is decided for.

    row: its place and content; features: what the answer was given to; label: what it is, where that is known.
    Raises SlideError when the slide cannot be read, or is no longer the one that the features are of.
    """
    decided = int(answer.probabilities.argmax())
    values = answer.attention[:, decided] if answer.contributions is None else answer.contributions[:, decided]
    order = np.argsort(-values, kind="stable")
    strip = [*order[:STRIP], *order[max(STRIP, len(order) - STRIP) :]]
    step = int(features.attributes["step"])
    content = str(features.attributes.get("slide", ""))
    views = isolated(look, row, features.coords[strip].tolist(), step, SIDE, TILE, content, timeout=timeout)
    sheet = _sheet(row.slide_id, views, features, answer, decided, classes, label)
    with atomic_path(out / f"{row.slide_id}.jpg") as scratch:
        sheet.save(scratch, quality=80)
    write_text(out / f"{row.slide_id}.geojson", to_geojson(features, answer, decided, classes, views.origin))


def ranks(values: np.ndarray) -> np.ndarray:
    """Values as fractions of the tiles that have less, 0 to 1; equal values have the same."""
    order = np.sort(values)
    return (np.searchsorted(order, values) + np.searchsorted(order, values, side="right") - 1) / max(
        1, 2 * (len(values) - 1)
    )


def raster(values: np.ndarray, features: Features, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Tile values laid over a view of `shape` (h, w) of a slide of `size` (width, height) level-0 pixels; NaN between tiles."""
    height, width = shape
    image, step = np.full(shape, np.nan, np.float32), int(features.attributes["step"])
    corners = np.stack([features.coords, features.coords + step], axis=1) * (
        np.array([width, height]) / size
    )  # (n, 2, 2)
    for ((x0, y0), (x1, y1)), value in zip(corners.round().astype(int), values, strict=True):
        image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = value
    return image


def _overlay(view: np.ndarray, values: np.ndarray, colours: np.ndarray) -> Image.Image:
    """The view with values (NaN: none) in the colours of a table (256, 3) over it."""
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


def _sheet(
    name: str, views: Views, features: Features, answer: Answer, decided: int, classes: list[str], label: str
) -> Image.Image:
    """Tissue, attention and contribution side by side; below, the tiles that speak most for the decision and most against it."""
    inferno, diverging = _colour_tables()
    shape = views.whole.shape[:2]
    attention = raster(ranks(answer.attention[:, decided]), features, views.size, shape)
    panels: list[tuple[str, Image.Image, tuple[Any, ...]]] = [
        ("tissue", Image.fromarray(views.whole), ()),
        ("attention (rank)", _overlay(views.whole, attention, inferno), ("least", inferno, "most")),
    ]
    if answer.contributions is not None:
        parts = answer.contributions[:, decided]
        largest = max(float(np.quantile(np.abs(parts), 0.99)), 1e-12)
        signed = raster((parts / largest / 2 + 0.5).clip(0, 1), features, views.size, shape)
        scale = (f"-{largest:.2g}", diverging, f"+{largest:.2g} logit")
        panels.append((f"contribution to {classes[decided]}", _overlay(views.whole, signed, diverging), scale))
    strips = [views.tiles[:STRIP], views.tiles[STRIP:]] if len(views.tiles) > STRIP else [views.tiles]
    across = STRIP * (TILE + GAP)  # pixels of a strip
    column = max(shape[1], COLUMN) + GAP
    width = max(len(panels) * column, across) + GAP
    beside = max(1, (width - GAP) // across)  # strips in a row
    below = 3 * LINE + shape[0] + GAP
    rows = -(-len(strips) // beside)
    sheet = Image.new("RGB", (width, below + rows * (LINE + TILE + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    said = f"{name}: {classes[decided]}, probability {answer.probabilities[decided]:.3f}"
    wrong = bool(label) and label != classes[decided]
    draw.text((GAP, 2), said + (f"; labelled {label}" if label else ""), RED if wrong else DARK, font)
    for k, (title, panel, scale) in enumerate(panels):
        x = GAP + k * column
        draw.text((x, LINE), title, DARK, font)
        sheet.paste(panel, (x, 2 * LINE))
        if scale:
            _draw_scale(sheet, (x, 2 * LINE + shape[0] + 2), scale, font)
    what = "attention" if answer.contributions is None else "contribution"
    for s, tiles in enumerate(strips):
        left, y = GAP + s % beside * across, below + s // beside * (LINE + TILE + GAP)
        draw.text((left, y), f"tiles of {('highest', 'lowest')[s]} {what}", DARK, font)
        for k, tile in enumerate(tiles):
            sheet.paste(Image.fromarray(tile), (left + k * (TILE + GAP), y + LINE))
    return sheet


def _draw_scale(sheet: Image.Image, at: tuple[int, int], scale: tuple[Any, ...], font: Any) -> None:
    """A colour table between the words for its ends, as it looks over white."""
    (low, colours, high), (x, y), draw = scale, at, ImageDraw.Draw(sheet)
    width, height = SCALE
    bar = (OPACITY * colours[None] + (1 - OPACITY) * 255).round().astype(np.uint8)
    draw.text((x, y), low, DARK, font)
    x += round(draw.textlength(low, font)) + GAP
    sheet.paste(Image.fromarray(bar).resize((width, height)), (x, y + 3))
    draw.text((x + width + GAP, y), high, DARK, font)


def to_geojson(
    features: Features, answer: Answer, decided: int, classes: list[str], origin: tuple[int, int] = (0, 0)
) -> str:
    """The tiles as QuPath opens them: squares in level-0 pixels from its `origin` on, their values as measurements."""
    step = int(features.attributes["step"])
    rank = ranks(answer.attention[:, decided])

    def tiles() -> Iterator[dict[str, Any]]:
        for k, (x, y) in enumerate((features.coords - origin).tolist()):
            measured = {"attention": float(answer.attention[k, decided]), "attention rank": round(float(rank[k]), 4)}
            if answer.contributions is not None:
                measured[f"contribution to {classes[decided]}"] = float(answer.contributions[k, decided])
            ring = [[x, y], [x + step, y], [x + step, y + step], [x, y + step], [x, y]]
            yield {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"objectType": "tile", "measurements": measured},
            }

    return json.dumps({"type": "FeatureCollection", "features": list(tiles())}, separators=(",", ":"))
