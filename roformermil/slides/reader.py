"""A slide file open for reading: its size, its resolution, its pixels.

Positions are level-0 pixels, x before y; resolutions are mpp, micrometres a pixel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import openslide

from roformermil.errors import Reason, SlideError

BLOCK = 4096  # side of the blocks in which a whole level is read, in that level's pixels
ROUNDING = 0.005  # levels of odd sizes have downsamples such as 4.0007
SENSIBLE_MPP = (0.01, 100.0)
COARSEST_TIFF = 4.0  # um/px: writers leave screen resolutions such as 72 dpi (353 um/px), which are no scale
MICROMETRES = {"centimeter": 1e4, "inch": 25400.0}  # a TIFF resolution unit in um


@dataclass(frozen=True)
class Scale:
    """A slide's resolution and where it was found."""

    mpp: float
    source: str  # sheet, vendor, tiff or objective


class SlideReader:
    """A slide opened by OpenSlide. Not for use from several threads at once: open one each.

    Raises SlideError, its message naming the file, with reason `missing`, `empty_file`, `unreadable` or, when `mpp` is
    not given and not in the file, `no_mpp`; reading pixels raises `read_failed`.
    """

    def __init__(self, path: Path | str, mpp: float | None = None):
        self.path = Path(path)
        if not self.path.is_file():
            raise SlideError(Reason.MISSING, f"{path}: no such file")
        if self.path.stat().st_size == 0:
            raise SlideError(Reason.EMPTY_FILE, f"{path}: the file is empty; copy it again")
        try:
            self._slide = openslide.OpenSlide(self.path)
        except openslide.OpenSlideUnsupportedFormatError as error:
            raise SlideError(Reason.UNREADABLE, f"{path}: not a slide format that OpenSlide reads") from error
        except openslide.OpenSlideError as error:
            raise SlideError(Reason.UNREADABLE, f"{path}: {error}; the file may be cut short") from error
        self.size: tuple[int, int] = self._slide.dimensions
        self.downsamples: tuple[float, ...] = self._slide.level_downsamples
        try:
            self.scale = find_scale(self._slide.properties, mpp)
        except SlideError as error:
            self.close()
            raise SlideError(error.reason, f"{path}: {error}") from error

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
            rgba = np.asarray(self._slide.read_region((x, y), level, (width, height)))
        except openslide.OpenSlideError as error:
            raise SlideError(
                Reason.READ_FAILED, f"{self.path}: reading at ({x}, {y}), level {level}: {error}"
            ) from error
        rgb, alpha = rgba[..., :3], rgba[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgb)
        return (255 - (255 - rgb.astype(np.uint16)) * alpha // 255).astype(np.uint8)

    def overview(self, mpp: float) -> np.ndarray:
        """The whole slide at `mpp`: (h, w, 3) uint8. Read in blocks, so that a level of any size fits in memory."""
        level = self.level_for(mpp)
        downsample = self.downsamples[level]
        width, height = self._slide.level_dimensions[level]
        factor = max(1, int(mpp / (self.scale.mpp * downsample)))  # whole factor, block by block
        block = BLOCK // factor * factor if factor <= BLOCK else factor
        rows = []
        for y in range(0, height, block):
            row = []
            for x in range(0, width, block):
                w, h = min(block, width - x), min(block, height - y)
                piece = self.read(round(x * downsample), round(y * downsample), w, h, level)
                size = (max(1, round(w / factor)), max(1, round(h / factor)))
                row.append(cv2.resize(piece, size, interpolation=cv2.INTER_AREA) if factor > 1 else piece)
            rows.append(np.concatenate(row, axis=1))
        whole = np.concatenate(rows)
        size = (max(1, round(self.size[0] * self.scale.mpp / mpp)), max(1, round(self.size[1] * self.scale.mpp / mpp)))
        return cv2.resize(whole, size, interpolation=cv2.INTER_AREA)


def find_scale(properties: Mapping[str, str], given: float | None = None) -> Scale:
    """The slide's mpp by an ordered chain: the sheet, the vendor's property, TIFF resolution, objective power.

    Never guessed from the image. Raises SlideError `no_mpp` when the chain ends.
    """
    if given is not None:
        return Scale(given, "sheet")
    if mpp := _mean(properties, openslide.PROPERTY_NAME_MPP_X, openslide.PROPERTY_NAME_MPP_Y):
        return Scale(mpp, "vendor")
    unit = MICROMETRES.get(properties.get("tiff.ResolutionUnit", ""))
    per_unit = _mean(properties, "tiff.XResolution", "tiff.YResolution", allowed=(1.0, 1e7))
    if unit and per_unit and unit / per_unit <= COARSEST_TIFF:
        return Scale(unit / per_unit, "tiff")
    if power := _mean(properties, openslide.PROPERTY_NAME_OBJECTIVE_POWER, openslide.PROPERTY_NAME_OBJECTIVE_POWER):
        return Scale(10 / power, "objective")
    raise SlideError(
        Reason.NO_MPP, "the file does not state its resolution; give it in the slide sheet's `mpp` column (um/px)"
    )


def _mean(properties: Mapping[str, str], x: str, y: str, allowed: tuple[float, float] = SENSIBLE_MPP) -> float | None:
    try:
        values = float(properties[x]), float(properties[y])
    except (KeyError, ValueError):
        return None
    if not all(allowed[0] <= v <= allowed[1] for v in values):
        return None
    return sum(values) / 2
