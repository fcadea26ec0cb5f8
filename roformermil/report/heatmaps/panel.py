"""A slide's heat maps on one sheet: tissue, attention and contribution side by side; below, the tiles that speak most for the
class shown and most against it."""

import math
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roformermil.report.heatmaps.overlay import OPACITY, RED, Overlay

SIDE, TILE, STRIP = 560, 88, 8  # pixels: a panel's longer side, a tile's; tiles in a strip
GAP, FONT, LINE = 6, 19, 26  # pixels of a gap, of a letter and of a line of text
COLUMN, SCALE = 330, (80, 14)  # pixels: of a panel at least, so that its scale fits; of a colour scale
DARK = (40, 40, 40)


def draw_panel(title: str, wrong: bool, whole: np.ndarray, maps: list[Overlay], tiles: list[np.ndarray]) -> Image.Image:
    """title: what is said of the slide, in red where the decision is `wrong`; whole: (h, w, 3), as large as the maps; tiles:
    STRIP with the highest values, then STRIP with the lowest; fewer where the slide has fewer."""
    panels = [("tissue", Image.fromarray(whole)), *[(one.title, one.picture) for one in maps]]
    factor = SIDE / max(whole.shape[:2])
    size = max(1, round(whole.shape[1] * factor)), max(1, round(whole.shape[0] * factor))
    strips = [tiles[:STRIP], tiles[STRIP:]] if len(tiles) > STRIP else [tiles]
    across = STRIP * (TILE + GAP)  # pixels of a strip
    font = ImageFont.load_default(size=FONT)
    column = max(size[0], COLUMN, *(_length(name, font) for name, _ in panels)) + GAP
    width = max(len(panels) * column, across, _length(title, font)) + 2 * GAP
    beside = max(1, (width - 2 * GAP) // across)  # strips in a row
    below = 3 * LINE + size[1] + GAP
    rows = -(-len(strips) // beside)
    drawn = Image.new("RGB", (width, below + rows * (LINE + TILE + GAP)), "white")
    draw = ImageDraw.Draw(drawn)
    draw.text((GAP, 2), title, RED if wrong else DARK, font)
    for k, (name, picture) in enumerate(panels):
        x = GAP + k * column
        draw.text((x, LINE), name, DARK, font)
        drawn.paste(picture.resize(size, Image.Resampling.BOX), (x, 2 * LINE))
        if k:
            _draw_scale(drawn, (x, 2 * LINE + size[1] + 2), maps[k - 1], font)
    for s, strip in enumerate(strips):
        left, y = GAP + s % beside * across, below + s // beside * (LINE + TILE + GAP)
        draw.text((left, y), f"tiles of {('highest', 'lowest')[s]} {maps[-1].title}", DARK, font)
        for k, tile in enumerate(strip):
            drawn.paste(Image.fromarray(tile), (left + k * (TILE + GAP), y + LINE))
    return drawn


def _length(text: str, font: Any) -> int:
    """Pixels of a line: names of slides and classes are as long as they are."""
    return math.ceil(font.getlength(text))


def _draw_scale(drawn: Image.Image, at: tuple[int, int], one: Overlay, font: Any) -> None:
    """The map's colours between the words for their ends, as they look over white."""
    (x, y), draw = at, ImageDraw.Draw(drawn)
    width, height = SCALE
    bar = (OPACITY * one.colours[None] + (1 - OPACITY) * 255).round().astype(np.uint8)
    draw.text((x, y), one.low, DARK, font)
    x += round(draw.textlength(one.low, font)) + GAP
    drawn.paste(Image.fromarray(bar).resize((width, height)), (x, y + 6))
    draw.text((x + width + GAP, y), one.high, DARK, font)
