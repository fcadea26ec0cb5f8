"""A slide's heat maps in one picture: what the model predicts, in sentences; tissue, attention and contribution side by side;
below, the tiles with the highest and the lowest values."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image, ImageDraw

from roformermil.report.heatmaps.overlay import OPACITY, RED, Overlay, Scale
from roformermil.report.heatmaps.picture import DARK, FONT, SMALL, WHITE, draw_scale_bar, join, text_block, wrap

TISSUE = (222, 190, 212)  # a tone of H&E
WIDTH, STRIP_TILES = 1840, 8  # pixels of the panel without its border; tiles in a strip
GAP, COLUMN_GAP = 8, 20  # pixels
TILE_PX = (WIDTH - (STRIP_TILES - 1) * GAP) // STRIP_TILES
MOST_HEIGHT = 1000  # pixels of a map
WIDE = 3  # maps of slides that are wider than this many times their height are below one another
BAR_HEIGHT, TICK = 16, 5  # pixels of a colour scale
AMBER, BROWN = (255, 224, 150), (110, 60, 0)
BLANK_SPREAD, BLANK_GREY = 16, 200  # glass: channels differ by less, all are brighter


@dataclass(frozen=True)
class PanelText:
    """What a panel says."""

    title: str
    is_wrong: bool = False
    warning: str = ""  # why not to believe it
    sentences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Strip:
    """Tiles of the slide in a row."""

    title: str
    tiles: list[tuple[np.ndarray, str]]  # pixels (TILE_PX, TILE_PX, 3) uint8 RGB, and what is written below


def draw_panel(
    text: PanelText,
    whole: np.ndarray,
    overlays: list[Overlay],
    strips: list[Strip],
    box: tuple[int, int, int, int],
    um_per_px: float | None = None,
) -> Image.Image:
    """whole: the slide (h, w, 3), as large as the overlays; box: left, top, right and bottom of the part of these to show;
    um_per_px: resolution of `whole`, for a scale bar."""
    rows = [text_block(text.title, WIDTH, RED if text.is_wrong else DARK)]
    if text.warning:
        rows.append(text_block(text.warning, WIDTH, BROWN, ground=AMBER, margin=10))
    rows += [text_block(" ".join(text.sentences), WIDTH, font=SMALL)] if text.sentences else []
    rows.append(_draw_maps(whole, overlays, box, um_per_px))
    rows += [_draw_strip(strip) for strip in strips]
    return _frame(join(rows, COLUMN_GAP, down=True))


def glass_trimmed(whole: np.ndarray, tiles: np.ndarray) -> tuple[int, int, int, int]:
    """The slide (h, w, 3) without blank glass at its edges: left, top, right, bottom; all of it where there is none.

    tiles: their corners (n, 2, 2) in its pixels, which stay inside.
    """
    red, green, blue = cv2.split(whole)
    darkest, brightest = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    stained = (brightest - darkest >= BLANK_SPREAD) | (darkest < BLANK_GREY)
    for (x0, y0), (x1, y1) in tiles:
        stained[y0:y1, x0:x1] = True
    height, width = stained.shape
    if not stained.any():
        return 0, 0, width, height
    (top, bottom), (left, right) = (np.flatnonzero(stained.any(axis=axis))[[0, -1]] for axis in (1, 0))
    margin = max(height, width) // 50
    box = left - margin, top - margin, right + 1 + margin, bottom + 1 + margin
    return max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])


def _draw_maps(
    whole: np.ndarray, overlays: list[Overlay], box: tuple[int, int, int, int], um_per_px: float | None
) -> Image.Image:
    """The tissue and the overlays, as large as they fit, each under its title and over its colour scale."""
    width, height = box[2] - box[0], box[3] - box[1]
    titles = ["Tissue", *(one.title for one in overlays)]
    columns = 1 if width > WIDE * height else len(titles)
    column = (WIDTH - (columns - 1) * COLUMN_GAP) // columns
    factor = min(column / width, MOST_HEIGHT / height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    lines = max(len(wrap(title, column, FONT)) for title in titles) if columns > 1 else 1

    def draw_map(title: str, picture: Image.Image, scale: Scale | None = None) -> Image.Image:
        picture = picture.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=2)
        if um_per_px and not scale:
            draw_scale_bar(picture, um_per_px / factor)
        below = [_draw_scale(scale, column)] if scale else []
        return join([text_block(title, column, least_lines=lines), picture, *below], GAP, down=True)

    maps = [draw_map(titles[0], Image.fromarray(whole))]
    maps += [draw_map(one.title, one.picture, one.scale) for one in overlays]
    return join(maps, COLUMN_GAP, down=columns == 1)


def _draw_scale(scale: Scale, width: int) -> Image.Image:
    """The colours, as they are over stained tissue, with their values; below, those of this slide."""
    width = min(width, WIDTH // 3)
    colours = (OPACITY * scale.colours[None] + (1 - OPACITY) * np.array(TISSUE)).round().astype(np.uint8)
    line = BAR_HEIGHT + TICK + 26
    bar = Image.new("RGB", (width, line), WHITE)
    bar.paste(Image.fromarray(colours).resize((width, BAR_HEIGHT)), (0, 0))
    draw = ImageDraw.Draw(bar)
    taken: list[tuple[float, float]] = []
    draw.rectangle((0, 0, width - 1, BAR_HEIGHT), outline=DARK)
    for place, text in sorted(scale.ticks, key=lambda tick: tick[0] not in (0.0, 1.0)):  # the ends first
        x, length = place * (width - 1), SMALL.getlength(text)
        left = min(max(0.0, x - length / 2), width - length)
        draw.line((x, BAR_HEIGHT, x, BAR_HEIGHT + TICK), DARK)
        if all(left > end + GAP or left + length < start - GAP for start, end in taken):
            draw.text((left, BAR_HEIGHT + TICK), text, DARK, SMALL)
            taken.append((left, left + length))
    return join([bar, text_block(scale.note, width, font=SMALL)], down=True)


def _draw_strip(strip: Strip) -> Image.Image:
    captioned = [
        join([Image.fromarray(pixels), text_block(value, TILE_PX, font=SMALL)], down=True)
        for pixels, value in strip.tiles
    ]
    return join([text_block(strip.title, WIDTH), join(captioned, GAP)], down=True)


def _frame(panel: Image.Image) -> Image.Image:
    framed = Image.new("RGB", (panel.width + 2 * COLUMN_GAP, panel.height + 2 * COLUMN_GAP), WHITE)
    framed.paste(panel, (COLUMN_GAP, COLUMN_GAP))
    return framed
