"""A data set's tissue at a glance: the outlines of all its slides on one sheet."""

import base64
import io
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import Status
from roformermil.runtime.files import atomic_path, write_text

THUMB, CAPTION, GAP = 240, 30, 6  # pixels
MANY, SMALL = 1000, 120  # so many slides get thumbnails of this size: a JPEG has at most 65,535 pixels a side
PAGE = 2000  # pixels across in the report
FINE, LOST = (60, 60, 60), (190, 0, 0)


def write_contact_sheet(rows: list[SlideRecord], outlines: Path, path: Path) -> None:
    """Write a JPEG of every slide's outline (`{slide_id}.jpg` in `outlines`) under its name, its tissue and its tiles; of a
    slide that failed, in red, why. Rows are in the sheet's order, from left to right. Beside it an HTML page of the same name
    with the sheet no wider than a screen: what a report has room for."""
    side = THUMB if len(rows) <= MANY else SMALL
    columns = math.ceil(math.sqrt(len(rows)))
    cell = (side + GAP, side + CAPTION + GAP)
    sheet = Image.new("RGB", (columns * cell[0] + GAP, -(-len(rows) // columns) * cell[1] + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(8, side // 20))
    for k, row in enumerate(rows):
        x, y = GAP + k % columns * cell[0], GAP + k // columns * cell[1]
        view = outlines / f"{row.slide_id}.jpg"
        if view.exists() and (row.status == Status.OK or row.stage != "segment"):  # not one of an earlier run
            with Image.open(view) as image:
                image.draft("RGB", (2 * side, 2 * side))  # decodes a large view at a fraction of its size
                image.thumbnail((side, side), Image.Resampling.BOX)
                sheet.paste(image, (x + (side - image.width) // 2, y + (side - image.height) // 2))
        else:
            draw.rectangle((x, y, x + side - 1, y + side - 1), outline=LOST)
        for line, text in enumerate(caption(row)):
            colour = FINE if row.status == Status.OK else LOST
            draw.text((x, y + side + line * (CAPTION // 2)), shorten(text, font, side), colour, font)
    with atomic_path(path) as scratch:
        sheet.save(scratch, quality=85)
    sheet.thumbnail((PAGE, sheet.height))
    held = io.BytesIO()
    sheet.save(held, "JPEG", quality=75)
    data = base64.b64encode(held.getvalue()).decode()
    page = f'<!DOCTYPE html><title>Tissue outlines</title><img src="data:image/jpeg;base64,{data}" style="max-width: 100%">'
    write_text(path.with_suffix(".html"), page + "\n")


def caption(row: SlideRecord) -> tuple[str, str]:
    """Two lines under a slide: its name; its tissue and tiles, or why it is lost."""
    if row.status != Status.OK:
        return row.slide_id, f"{row.status} in {row.stage}"
    return row.slide_id, f"{row.tissue_mm2 or 0:.1f} mm2, {row.tiles or 0:,} tiles"


def shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its middle left out where it is wider than `width` pixels: names differ at their ends."""
    lengths = np.arange(len(text), 0, -1)
    for keep in lengths:
        shown = text if keep == len(text) else f"{text[: keep // 2]}…{text[len(text) - (keep - keep // 2) :]}"
        if font.getlength(shown) <= width:
            return shown
    return ""
