"""A slide and some of its tiles at the size of a picture. Light to import: this runs in one subprocess per slide."""

from dataclasses import dataclass

import cv2
import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import check_unchanged


@dataclass(frozen=True)
class Thumbnails:
    """Pixels for a picture of a slide."""

    whole: np.ndarray  # (h, w, 3) uint8 RGB
    size: tuple[int, int]  # of the slide, level-0 pixels
    origin: tuple[int, int]  # where QuPath's image starts, level-0 pixels
    tiles: list[np.ndarray]  # (tile_px, tile_px, 3) uint8 RGB each


def read_thumbnails(
    record: SlideRecord, coords: list[list[int]], base_px: int, side_px: int, tile_px: int, content: str = ""
) -> Thumbnails:
    """The whole slide with a longer side of `side_px`, and the tiles at `coords`, in their order.

    coords: top-left corners of tiles of `base_px` level-0 pixels, which are resized to `tile_px`. Raises SlideError,
    `changed` where the slide's file no longer has this `content`.
    """
    if content:
        check_unchanged(record, content)
    with SlideReader(record.path, record.mpp or record.sheet_mpp) as slide:
        centres = [(x + base_px / 2, y + base_px / 2) for x, y in coords]
        level = slide.level_for(base_px * slide.scale.mpp / tile_px, centres)
        read_px = max(1, round(base_px / slide.downsamples[level]))
        pixels = (slide.read(x, y, read_px, read_px, level) for x, y in coords)
        tiles = [cv2.resize(tile, (tile_px, tile_px), interpolation=cv2.INTER_AREA) for tile in pixels]
        whole = slide.overview(max(slide.size) * slide.scale.mpp / side_px)
        return Thumbnails(whole, slide.size, slide.origin, tiles)
