"""The contact sheet: the tissue outlines of all slides of a data set, a thousand per picture."""

import base64
import io
import math
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from roformermil.cohort.slide_table import SlideRecord, shorten_warnings
from roformermil.errors import Status
from roformermil.runtime.files import atomic_path, write_text

THUMBNAIL_PX, LINE_PX, LINES, GAP_PX = 240, 15, 3, 6
CAPTION_PX = LINES * LINE_PX
SLIDES_PER_PICTURE = 1000  # they take 220 MB of memory
PAGE_PX = 2000  # width in the report
GREY, RED, ORANGE = (60, 60, 60), (190, 0, 0), (200, 110, 0)


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
    page = "<!DOCTYPE html><title>Tissue outlines</title>\n"
    for file, source in zip(pictures, [url, *(file.name for file in pictures[1:])], strict=True):
        page += f'<a href="{file.name}"><img src="{source}" loading="lazy" style="max-width: 100%"></a>\n'
    write_text(path.with_suffix(".html"), page)


def _data_url(picture: Image.Image) -> str:
    picture.thumbnail((PAGE_PX, picture.height))
    picture.save(buffer := io.BytesIO(), "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


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
        return [(record.slide_id, RED), (f"{record.status} in {record.stage}", RED)]
    lines = [(record.slide_id, GREY), (f"{record.tissue_mm2 or 0:.1f} mm², {record.tiles or 0:,} tiles", GREY)]
    if odd := shorten_warnings(record.warnings):
        lines.append((f"check: {odd}", ORANGE))
    return lines
