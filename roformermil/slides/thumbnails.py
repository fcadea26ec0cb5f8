"""A slide and some of its tiles as a person looks at them. Light to import: it runs in a process of its own a slide."""

from dataclasses import dataclass

import cv2
import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import check_unchanged


@dataclass(frozen=True)
class Thumbnails:
    """A slide's pixels, to be looked at."""

    whole: np.ndarray  # (h, w, 3) uint8
    size: tuple[int, int]  # level-0 pixels
    origin: tuple[int, int]  # where QuPath's image begins, level-0 pixels
    tiles: list[np.ndarray]  # (tile, tile, 3) each, in the order asked for


def read_thumbnails(
    row: SlideRecord, coords: list[list[int]], step: int, side: int, tile: int, content: str = ""
) -> Thumbnails:
    """Read the whole slide with a longer side of `side` pixels, and tiles of `step` level-0 pixels as `tile` x `tile`.

    coords: the tiles' top-left corners; content: identity of the file that they are of. Raises SlideError.
    """
    if content:
        check_unchanged(row, content)
    with SlideReader(row.path, row.mpp or row.sheet_mpp) as slide:
        mpp = max(slide.size) * slide.scale.mpp / side
        level = slide.level_for(step * slide.scale.mpp / tile)
        read = max(1, round(step / slide.downsamples[level]))
        tiles = [
            cv2.resize(slide.read(x, y, read, read, level), (tile, tile), interpolation=cv2.INTER_AREA)
            for x, y in coords
        ]
        return Thumbnails(slide.overview(mpp), slide.size, slide.origin, tiles)
