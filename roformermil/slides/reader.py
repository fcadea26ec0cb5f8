"""An open slide: its size, resolution and pixels. Positions are level-0 pixels, x before y; mpp is um/px."""

from pathlib import Path
from typing import Self

import cv2
import numpy as np

from roformermil.errors import SlideError, Status
from roformermil.slides.backends import open_backend
from roformermil.slides.scale import find_scale

BLOCK = 1024  # side of the blocks in which a level is read, in the level's pixels
MPP_TOLERANCE = 0.005  # levels of odd sizes have downsamples such as 4.0007
LARGEST_SIDE = 2**21  # pixels; ten times that of the largest scanners
LARGEST_OVERVIEW = 2**28  # pixels


class SlideReader:
    """An open slide. Not thread-safe: open one per thread.

    Raises SlideError, naming the file: `missing`, `empty_file`, `unreadable`, `needs_tiatoolbox`, `absurd_size`, those
    of `find_scale`; `read_failed` when pixels cannot be read, `not_brightfield` when they are not 8-bit RGB.
    """

    def __init__(self, path: Path | str, mpp: float | None = None):
        self.path = Path(path)
        if not self.path.exists():
            raise SlideError(Status.MISSING, f"{path}: no such file")
        if self.path.stat().st_size == 0:
            raise SlideError(Status.EMPTY_FILE, f"{path}: the file is empty; copy it again")
        self._slide = open_backend(self.path)
        self.reader: str = self._slide.name
        self.level_sizes = self._slide.level_sizes
        self.downsamples = self._slide.downsamples
        self.size: tuple[int, int] = self.level_sizes[0]
        # where the scan starts: QuPath crops formats that state it (MRXS, SCN, BIF) to the scan
        x, y = (int(self._slide.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        self.origin = (x, y)
        try:
            if not (min(self.size) > 0 and max(self.size) <= LARGEST_SIDE):
                size = f"{self.size[0]} x {self.size[1]} px"
                raise SlideError(
                    Status.ABSURD_SIZE, f"the stated size is {size}; the file may be damaged: copy it again"
                )
            self.scale = find_scale(self._slide.properties, mpp)
        except SlideError as error:
            self._slide.close()
            raise SlideError(Status(error.status), f"{path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._slide.close()

    def level_for(self, mpp: float) -> int:
        """The coarsest level that is at least as fine as `mpp`; level 0 when none is."""
        fine = [k for k, d in enumerate(self.downsamples) if d * self.scale.mpp <= mpp * (1 + MPP_TOLERANCE)]
        return max(fine, key=lambda k: self.downsamples[k], default=0)

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> np.ndarray:
        """Pixels (height, width, 3) uint8 RGB at level-0 position (x, y), white where nothing was scanned; width and
        height in the level's pixels."""
        try:
            pixels = self._slide.read(x, y, width, height, level)
        except MemoryError:
            raise
        except Exception as error:  # each library has its own errors
            message = f"{self.path}: pixels at ({x}, {y}), level {level} cannot be read: {error}"
            raise SlideError(Status.READ_FAILED, message) from error
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            kind = f"{pixels.dtype} {pixels.shape}"
            raise SlideError(Status.NOT_BRIGHTFIELD, f"{self.path}: pixels are {kind}, not 8-bit RGB")
        rgb, alpha = pixels[..., :3], pixels[..., 3:]
        if alpha.size == 0 or alpha.min() == 255:
            return np.ascontiguousarray(rgb)
        return (255 - (255 - rgb.astype(np.uint16)) * alpha // 255).astype(np.uint8)

    def overview(self, mpp: float) -> np.ndarray:
        """The whole slide at `mpp`: (h, w, 3) uint8 RGB. Raises SlideError `absurd_size` above LARGEST_OVERVIEW."""
        width, height = (max(1, round(side * self.scale.mpp / mpp)) for side in self.size)
        if width * height > LARGEST_OVERVIEW:
            sizes = (
                f"{self.size[0]} x {self.size[1]} px of {self.scale.mpp:g} um make an overview of {width} x {height} px"
            )
            message = f"{self.path}: {sizes} at {mpp:g} um/px; check the slide's resolution, or raise tissue.mpp"
            raise SlideError(Status.ABSURD_SIZE, message)
        level = self.level_for(mpp)
        factor = max(1, int(mpp / (self.scale.mpp * self.downsamples[level])))
        return cv2.resize(self._read_level(level, factor), (width, height), interpolation=cv2.INTER_AREA)

    def _read_level(self, level: int, factor: int) -> np.ndarray:
        """A whole level, shrunk by an integer factor. Reads block by block, so that any level fits in memory."""
        downsample = self.downsamples[level]
        width, height = self.level_sizes[level]
        block = BLOCK // factor * factor if factor <= BLOCK else factor
        rows = []
        for y in range(0, height, block):
            row = []
            for x in range(0, width, block):
                w, h = min(block, width - x), min(block, height - y)
                pixels = self.read(round(x * downsample), round(y * downsample), w, h, level)
                small = (max(1, round(w / factor)), max(1, round(h / factor)))
                row.append(cv2.resize(pixels, small, interpolation=cv2.INTER_AREA) if factor > 1 else pixels)
            rows.append(np.concatenate(row, axis=1))
        return np.concatenate(rows)
