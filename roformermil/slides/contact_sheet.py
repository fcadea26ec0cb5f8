"""The contact sheet: the tissue outlines of all slides of a data set, a thousand per picture."""

import base64
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from roformermil.cohort.slide_messages import group_lost, group_warnings
from roformermil.cohort.slide_table import SlideRecord, shorten_warnings
from roformermil.errors import Status
from roformermil.runtime.files import atomic_path, write_text

THUMBNAIL_PX, LINE_PX, LINES, GAP_PX = 240, 15, 3, 6
CAPTION_PX = LINES * LINE_PX
SLIDES_PER_PICTURE = 1000  # they take 220 MB of memory
PAGE_PX = 2000  # width in the report
# Pillow's font has no ², and no µ
GREY, RED, ORANGE = (60, 60, 60), (190, 0, 0), (200, 110, 0)
STYLE = "body {font: 15px/1.5 system-ui, sans-serif; margin: 24px; color: #1c2430} img {max-width: 100%} p, li {max-width: 75em}"
KEY = (
    "Look whether the outlines enclose the tissue and nothing else. Below each slide: its tissue and tiles; in orange what to"
    " check; in red that it is lost. Click the picture to enlarge it."
)


def write_contact_sheet(records: list[SlideRecord], outlines: Path, path: Path) -> None:
    """Write the contact sheet (JPEG) of the slides' `{slide_id}.jpg` in the folder `outlines`: the first thousand to `path`,
    further ones to `{stem}_2.jpg` and so on. An HTML page beside it shows them all, a smaller copy of the first in itself."""
    pictures: list[Path] = []
    for first in range(0, len(records), SLIDES_PER_PICTURE):
        pictures.append(path.with_stem(f"{path.stem}_{len(pictures) + 1}") if pictures else path)
        picture = draw_contact_sheet(records[first : first + SLIDES_PER_PICTURE], outlines)
        with atomic_path(pictures[-1]) as scratch:
            picture.save(scratch, quality=85)
        if first == 0:
            url = _data_url(picture)
    for earlier in set(path.parent.glob(f"{path.stem}_[0-9]*{path.suffix}")) - set(pictures):  # of more slides
        earlier.unlink()
    sources = [url, *(file.name for file in pictures[1:])]
    links = [
        f'<a href="{file.name}"><img src="{source}" loading="lazy" alt="outlines"></a>'
        for file, source in zip(pictures, sources, strict=True)
    ]
    write_text(path.with_suffix(".html"), _page(records, "\n".join(links)))


def _data_url(picture: Image.Image) -> str:
    picture.thumbnail((PAGE_PX, picture.height))
    picture.save(buffer := io.BytesIO(), "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _page(records: Sequence[SlideRecord], pictures: str) -> str:
    """The page: the pictures, and in full what is lost and what to check, which a caption has no room for."""
    parts = [f"<h1>Tissue of {len(records):,} slides</h1>", f"<p>{KEY}</p>", pictures]
    for title, lines in (("Lost", group_lost(records)), ("To check", group_warnings(records))):
        if lines:
            parts += [f"<h2>{title}</h2>", "<ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]
    head = f'<meta charset="utf-8"><title>Tissue outlines</title><style>{STYLE}</style>'
    return "\n".join(['<!DOCTYPE html><html lang="en">', head, *parts, "</html>", ""])


def draw_contact_sheet(records: list[SlideRecord], outlines: Path) -> Image.Image:
    """Each slide's outline, name, tissue area and number of tiles, row by row; a lost slide has its status, in red, one with
    warnings what to check, in orange, and one that the slide sheet leaves out is grey."""
    side = THUMBNAIL_PX
    width, height = side + GAP_PX, side + CAPTION_PX + GAP_PX  # of a cell
    columns = math.ceil(math.sqrt(len(records)))
    rows = math.ceil(len(records) / columns)
    picture = Image.new("RGB", (columns * width + GAP_PX, rows * height + GAP_PX), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(8, side // 20))
    for k, record in enumerate(records):
        x, y = GAP_PX + k % columns * width, GAP_PX + k // columns * height
        if outline := read_outline(record, outlines, side):
            picture.paste(outline, (x + (side - outline.width) // 2, y + (side - outline.height) // 2))
        else:
            draw.rectangle((x, y, x + side - 1, y + side - 1), outline=RED if record.is_lost else GREY)
        for line, (text, colour) in enumerate(_caption(record)):
            draw.text((x, y + side + line * LINE_PX), shorten_middle(text, font, side), colour, font)
    return picture


def shorten_middle(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, at most `width` pixels wide: with `…` in the middle, as slides' names differ at their ends."""
    shorter = (f"{text[: kept // 2]}…{text[kept // 2 - kept :]}" for kept in range(len(text) - 1, 0, -1))
    return next((shown for shown in (text, *shorter) if font.getlength(shown) <= width), "")


def read_outline(record: SlideRecord, outlines: Path, side: int) -> Image.Image | None:
    """The slide's outline, its longer side `side` pixels; None where segmentation drew none."""
    path = outlines / f"{record.slide_id}.jpg"
    is_drawn = (
        record.is_ok or record.stage != "segment" or record.status == Status.EMPTY
    )  # else it is from an earlier run
    if not is_drawn or not path.exists():
        return None
    with Image.open(path) as image:
        image.draft("RGB", (2 * side, 2 * side))  # decodes at a fraction of the size, faster
        image.thumbnail((side, side), Image.Resampling.BOX)
        return image.copy()  # which outlives the file


def _caption(record: SlideRecord) -> list[tuple[str, tuple[int, int, int]]]:
    """Up to LINES lines of text, each with its colour. Of a warning the part before the colon, which says what is odd."""
    if record.status == Status.EXCLUDED:
        return [(record.slide_id, GREY), ("excluded by the slide sheet", GREY)]
    if record.is_lost:
        return [(record.slide_id, RED), (f"lost: {record.status.replace('_', ' ')}", RED)]
    lines = [(record.slide_id, GREY), (f"{record.tissue_mm2 or 0:.1f} mm2, {record.tiles or 0:,} tiles", GREY)]
    if odd := shorten_warnings(record.warnings):
        lines.append((f"check: {odd}", ORANGE))
    return lines
