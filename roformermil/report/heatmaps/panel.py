"""A slide's heat maps in one picture: tissue, attention and contribution side by side; below, the tiles with the
highest and the lowest values."""

import math
from itertools import accumulate

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from roformermil.report.heatmaps.overlay import OPACITY, RED, Overlay

MAP_PX, TILE_PX, STRIP_TILES = 560, 88, 8  # a map's longer side, a tile's side; tiles in a strip
GAP, LINE = 6, 26  # pixels
SCALE = (80, 14)  # pixels of a colour scale
DARK, FONT = (40, 40, 40), ImageFont.load_default(size=19)


def draw_panel(
    title: str, is_wrong: bool, whole: np.ndarray, overlays: list[Overlay], tiles: list[np.ndarray]
) -> Image.Image:
    """title: what is predicted, in red where that `is_wrong`; whole: the slide (h, w, 3), as large as the overlays;
    tiles: STRIP_TILES with the highest values, then those with the lowest; fewer where the slide has fewer."""
    heading = _draw_text(title, RED if is_wrong else DARK)
    tissue = _draw_map("tissue", Image.fromarray(whole))
    maps = _join([tissue, *(_draw_map(one.title, one.picture, one) for one in overlays)], GAP)
    strips = []
    for end, part in (("highest", tiles[:STRIP_TILES]), ("lowest", tiles[STRIP_TILES:])):
        if part:
            text = _draw_text(f"tiles with the {end} {overlays[-1].title}")
            strips.append(_join([text, _join([Image.fromarray(tile) for tile in part], GAP)], down=True))
    abreast = max(1, max(heading.width, maps.width) // (STRIP_TILES * (TILE_PX + GAP)))
    rows = [_join(strips[k : k + abreast], GAP) for k in range(0, len(strips), abreast)]
    return ImageOps.expand(_join([_join([heading, maps], down=True), *rows], GAP, down=True), GAP, "white")


def _draw_map(title: str, picture: Image.Image, overlay: Overlay | None = None) -> Image.Image:
    """A picture of the slide under its title, and over its colour scale if it has one."""
    factor = MAP_PX / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    scale = [_draw_scale(overlay)] if overlay else []
    return _join([_draw_text(title), picture.resize((width, height), Image.Resampling.BOX), *scale], down=True)


def _draw_scale(overlay: Overlay) -> Image.Image:
    """The overlay's colours, as they are over white, between the words for their ends."""
    colours = (OPACITY * overlay.colours[None] + (1 - OPACITY) * 255).round().astype(np.uint8)
    bar = Image.new("RGB", (SCALE[0], LINE), "white")
    bar.paste(Image.fromarray(colours).resize(SCALE), (0, (LINE - SCALE[1]) // 2))
    return _join([_draw_text(overlay.low), bar, _draw_text(overlay.high)], GAP)


def _draw_text(text: str, colour: tuple[int, int, int] = DARK) -> Image.Image:
    """A line of text, as wide as it is long: names of slides and classes can be."""
    image = Image.new("RGB", (math.ceil(FONT.getlength(text)) + 1, LINE), "white")
    ImageDraw.Draw(image).text((0, 2), text, colour, FONT)
    return image


def _join(images: list[Image.Image], gap: int = 0, down: bool = False) -> Image.Image:
    """Images side by side, or one below the other, on white."""
    sizes = [image.size[::-1] if down else image.size for image in images]  # (along, across)
    starts = list(accumulate((along + gap for along, _ in sizes), initial=0))
    size = starts[-1] - gap, max(across for _, across in sizes)
    joined = Image.new("RGB", size[::-1] if down else size, "white")
    for image, start in zip(images, starts, strict=False):
        joined.paste(image, (0, start) if down else (start, 0))
    return joined
