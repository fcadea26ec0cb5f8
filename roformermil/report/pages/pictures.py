"""Pictures of a run as data URIs, so that the report is one file."""

import base64
import io
from pathlib import Path

from PIL import Image

from roformermil.cohort.slide_table import SlideRecord
from roformermil.slides.contact_sheet import read_outline

WIDE_PX, THUMBNAIL_PX = 1900, 130  # of heat maps and contact sheets at most; of a slide beside its message
QUALITY = 80
HIGHEST_PX = 20_000  # of contact sheets: browsers draw no picture of any height


def png_uri(path: Path) -> str:
    """A plot as it is; "" where there is no such file."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" if path.exists() else ""


def jpeg_uri(path: Path) -> str:
    """A picture, at most WIDE_PX wide; "" where there is no such file."""
    if not path.exists():
        return ""
    with Image.open(path) as image:
        image.draft("RGB", (WIDE_PX, HIGHEST_PX))  # decodes large files at a fraction of their size
        image.thumbnail((WIDE_PX, HIGHEST_PX))
        return _encode(image)


def outline_uri(record: SlideRecord, outlines: Path) -> str:
    """A slide with the outline of its tissue; "" where segmentation drew none."""
    outline = read_outline(record, outlines, THUMBNAIL_PX)
    return _encode(outline) if outline else ""


def _encode(image: Image.Image) -> str:
    image.convert("RGB").save(buffer := io.BytesIO(), "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
