"""Pixels of the run's slides at any zoom."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from openslide import AbstractSlide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import SlideError, Status
from roformermil.slides.reader import SlideReader

TILE, OVERLAP = 510, 1  # pixels of a Deep Zoom tile, and shared with each neighbour
OPEN_SLIDES = 4  # OpenSlide caches up to 32 MB of each
OVERVIEW_PX = 4096  # longer side of the coarsest level at most: a tile at low zoom is read from one level whole
LARGE = 2**22  # pixels of a level; so large regions are read one at a time
REGION_PX, LARGEST_REGION = 160, 4096  # sides: of a tile's picture; in level-0 pixels
UNKNOWN_MPP = 1.0  # um/px, to open a slide that states no usable resolution
QUALITY = 80
Places = list[tuple[float, float]]  # level-0 x and y


@dataclass(frozen=True)
class Level:
    """A level to read from: one of the slide's, or a picture of the whole slide."""

    size: tuple[int, int]  # (width, height)
    downsample: float
    source: int | np.ndarray


class ShownPixels(AbstractSlide):
    """A slide as DeepZoomGenerator reads it: RGB, white where nothing was scanned, from levels that show what level 0 shows.

    Where the coarsest is larger than OVERVIEW_PX, a picture of the whole slide serves as one more. Raises SlideError.
    """

    def __init__(self, path: Path, mpp: float | None, places: Places):
        """places: level-0 positions at which levels are compared."""
        super().__init__()
        self.reader, self.mpp = _open(path, mpp)
        self.levels = [
            Level(size, downsample, level)
            for level, (size, downsample) in enumerate(
                zip(self.reader.level_sizes, self.reader.downsamples, strict=True)
            )
            if self.reader.level_for(self.reader.scale.mpp * downsample, places) == level
        ]
        if (coarse := max(self.levels[-1].size) / OVERVIEW_PX) > 1:
            image = self.reader.overview(self.reader.scale.mpp * self.levels[-1].downsample * coarse)
            self.levels.append(Level(image.shape[1::-1], self.reader.size[0] / image.shape[1], image))
        for level in range(len(self.reader.level_sizes)):
            self.reader.open_level(level)  # here, as threads must not
        self._large = Lock()

    @classmethod
    def detect_format(cls, filename: object) -> None:
        return None

    def close(self) -> None:
        """Nothing: a thread may still read. OpenSlide closes the file with the last reference to it."""

    @property
    def level_count(self) -> int:
        return len(self.levels)

    @property
    def level_dimensions(self) -> tuple[tuple[int, int], ...]:
        return tuple(level.size for level in self.levels)

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        return tuple(level.downsample for level in self.levels)

    @property
    def properties(self) -> Mapping[str, str]:
        return {}

    @property
    def associated_images(self) -> Mapping[str, Image.Image]:
        return {}

    def get_best_level_for_downsample(self, downsample: float) -> int:
        return max((k for k, level in enumerate(self.levels) if level.downsample <= downsample * 1.01), default=0)

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        return Image.fromarray(self.read(*location, *size, self.levels[level])).convert("RGBA")

    def read(self, x: int, y: int, width: int, height: int, level: Level) -> np.ndarray:
        """(height, width, 3) uint8 at level-0 position (x, y). Raises SlideError."""
        if isinstance(level.source, np.ndarray):
            left, top = round(x / level.downsample), round(y / level.downsample)
            part = level.source[top : top + height, left : left + width]
            gaps = ((0, height - part.shape[0]), (0, width - part.shape[1]), (0, 0))
            return np.pad(part, gaps, constant_values=255)
        if width * height < LARGE:
            return self.reader.read(x, y, width, height, level.source)
        with self._large:
            return self.reader.read(x, y, width, height, level.source)


class ShownImage:
    """An open slide: its tiles and regions as JPEG. Threads may share it."""

    def __init__(self, record: SlideRecord, places: Places):
        self.pixels = ShownPixels(record.path, record.mpp or record.sheet_mpp, places)
        self._zoom = DeepZoomGenerator(self.pixels, TILE, OVERLAP)

    @cached_property
    def facts(self) -> dict[str, object]:
        """What OpenSeadragon needs to know, and mpp (um/px), None where that is unknown."""
        width, height = self.pixels.reader.size
        return {"width": width, "height": height, "tile": TILE, "overlap": OVERLAP, "mpp": self.pixels.mpp}

    def tile(self, level: int, column: int, row: int) -> bytes:
        """A Deep Zoom tile. Raises ValueError for a place outside the slide, SlideError for pixels that cannot be read."""
        return _to_jpeg(self._zoom.get_tile(level, (column, row)))

    def region(self, x: int, y: int, side: int) -> bytes:
        """A square of `side` level-0 pixels at (x, y), with a side of REGION_PX. Raises errors as `tile` does."""
        width, height = self.pixels.reader.size
        if not (0 <= x < width and 0 <= y < height and 0 < side <= LARGEST_REGION):
            raise ValueError("outside the slide")
        level = self.pixels.levels[self.pixels.get_best_level_for_downsample(side / REGION_PX)]
        read_px = max(1, round(side / level.downsample))
        pixels = self.pixels.read(x, y, read_px, read_px, level)
        return _to_jpeg(Image.fromarray(cv2.resize(pixels, (REGION_PX, REGION_PX), interpolation=cv2.INTER_AREA)))


class OpenSlides:
    """The slides looked at last, which remain open."""

    def __init__(self) -> None:
        self._slides: OrderedDict[Path, ShownImage] = OrderedDict()
        self._lock = Lock()

    def get(self, record: SlideRecord, find_places: Callable[[], Places]) -> ShownImage:
        """The slide, opened where it is not open yet; then `find_places` tells where its levels are compared. Raises
        SlideError."""
        with self._lock:
            if record.path not in self._slides:
                self._slides[record.path] = ShownImage(record, find_places())
            self._slides.move_to_end(record.path)
            while len(self._slides) > OPEN_SLIDES:
                self._slides.popitem(last=False)
            return self._slides[record.path]

    def forget(self, record: SlideRecord) -> None:
        """Open the slide again next time, as OpenSlide needs it after an error."""
        with self._lock:
            self._slides.pop(record.path, None)


def _open(path: Path, mpp: float | None) -> tuple[SlideReader, float | None]:
    """The slide, also one without a usable resolution, and its mpp if it has one. Raises SlideError."""
    try:
        reader = SlideReader(path, mpp)
        return reader, reader.scale.mpp
    except SlideError as error:
        if error.status not in (Status.NO_MPP, Status.ABSURD_MPP, Status.ANISOTROPIC):
            raise
        return SlideReader(path, UNKNOWN_MPP), None


def _to_jpeg(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def spread_places(coords: np.ndarray, base_px: int, count: int = 12) -> Places:
    """Centres of up to `count` of the tiles (n, 2), evenly spread over their order."""
    chosen = coords[:: max(1, math.ceil(len(coords) / count))] + base_px / 2
    return [(float(x), float(y)) for x, y in chosen]
