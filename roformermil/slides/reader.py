"""A slide file open for reading: its size, its resolution, its pixels.

Positions are level-0 pixels, x before y; resolutions are mpp, micrometres a pixel.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from roformermil.errors import SlideError, Status
from roformermil.slides.backends import open_backend
from roformermil.slides.scale import find_scale

BLOCK = 1024  # side of the blocks in which a whole level is read, in that level's pixels
ROUNDING = 0.005  # levels of odd sizes have downsamples such as 4.0007
LARGEST_SIDE = 2**21  # pixels; ten times the largest scanner's
LARGEST_VIEW = 2**28  # pixels of an overview


class SlideReader:
    """A slide opened by what can read it. Not for use from several threads at once: open one each.

    Raises SlideError, its message naming the file, with reason `missing`, `empty_file`, `unreadable`, `needs_tiatoolbox`,
    `absurd_size`, or what `find_scale` raises; reading pixels raises `read_failed`.
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
        self.origin = _bounds(self._slide.properties)
        try:
            if not (min(self.size) > 0 and max(self.size) <= LARGEST_SIDE):
                raise SlideError(Status.ABSURD_SIZE, f"it says it is {self.size[0]} x {self.size[1]} px: damaged?")
            self.scale = find_scale(self._slide.properties, mpp)
        except SlideError as error:
            self.close()
            raise SlideError(Status(error.status), f"{path}: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._slide.close()

    def level_for(self, mpp: float) -> int:
        """The coarsest level that is at least as fine as `mpp`; level 0 when none is."""
        fine = [k for k, d in enumerate(self.downsamples) if d * self.scale.mpp <= mpp * (1 + ROUNDING)]
        return max(fine, key=lambda k: self.downsamples[k], default=0)

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> np.ndarray:
        """Pixels at level-0 position (x, y), sizes in the level's pixels: (height, width, 3) uint8, void is white."""
        try:
            pixels = self._slide.read(x, y, width, height, level)
        except MemoryError:
            raise
        except Exception as error:  # each library has errors of its own
            raise SlideError(
                Status.READ_FAILED, f"{self.path}: reading at ({x}, {y}), level {level}: {error}"
            ) from error
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            raise SlideError(
                Status.NOT_BRIGHTFIELD, f"{self.path}: pixels are {pixels.dtype} {pixels.shape}, not 8-bit RGB"
            )
        rgb, alpha = pixels[..., :3], pixels[..., 3:]
        if alpha.size == 0 or alpha.min() == 255:
            return np.ascontiguousarray(rgb)
        return (255 - (255 - rgb.astype(np.uint16)) * alpha // 255).astype(np.uint8)

    def overview(self, mpp: float) -> np.ndarray:
        """The whole slide at `mpp`: (h, w, 3) uint8. Read in blocks, so that a level of any size fits in memory."""
        size = (max(1, round(self.size[0] * self.scale.mpp / mpp)), max(1, round(self.size[1] * self.scale.mpp / mpp)))
        if size[0] * size[1] > LARGEST_VIEW:
            raise SlideError(
                Status.ABSURD_SIZE,
                f"{self.path}: {self.size[0]} x {self.size[1]} px of {self.scale.mpp:g} um are {size[0]} x {size[1]} at "
                f"{mpp:g} um/px; is its resolution right? Else raise tissue.mpp",
            )
        level = self.level_for(mpp)
        downsample = self.downsamples[level]
        width, height = self.level_sizes[level]
        factor = max(1, int(mpp / (self.scale.mpp * downsample)))  # whole factor, block by block
        block = BLOCK // factor * factor if factor <= BLOCK else factor
        rows = []
        for y in range(0, height, block):
            row = []
            for x in range(0, width, block):
                w, h = min(block, width - x), min(block, height - y)
                piece = self.read(round(x * downsample), round(y * downsample), w, h, level)
                small = (max(1, round(w / factor)), max(1, round(h / factor)))
                row.append(cv2.resize(piece, small, interpolation=cv2.INTER_AREA) if factor > 1 else piece)
            rows.append(np.concatenate(row, axis=1))
        whole = np.concatenate(rows)
        return cv2.resize(whole, size, interpolation=cv2.INTER_AREA)


def _bounds(properties: Mapping[str, str]) -> tuple[int, int]:
    """Level-0 pixel at which the scanned part begins. QuPath shows formats that state it (MRXS, SCN, BIF) from there on."""
    return int(properties.get("openslide.bounds-x", 0)), int(properties.get("openslide.bounds-y", 0))
