"""What opens a slide file: OpenSlide, or tiatoolbox for the formats that OpenSlide does not know."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import openslide

from roformermil.errors import SlideError, Status

TOOLBOX_FORMATS = (".jp2", ".zarr", ".ome.tif", ".ome.tiff", ".qptiff")
OME = "<OME"  # an OME-TIFF's description: OpenSlide opens some, without their pyramid and resolution


class Backend(Protocol):
    """A slide opened by a library. Positions are level-0 pixels; sizes are (width, height)."""

    name: str
    level_sizes: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself, under OpenSlide's names."""

    def read(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
        """(height, width, 3 or 4) uint8: RGB, or RGBA where void is transparent. Raises any error of the library."""

    def close(self) -> None: ...


class OpenSlideBackend:
    """SVS, NDPI, MRXS, SCN, VMS, BIF, generic tiled TIFF, DICOM, ..."""

    name = "openslide"

    def __init__(self, path: Path):
        self._slide = openslide.OpenSlide(path)
        self.level_sizes = self._slide.level_dimensions
        self.downsamples = self._slide.level_downsamples

    @property
    def properties(self) -> Mapping[str, str]:
        return self._slide.properties

    def read(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
        return np.asarray(self._slide.read_region((x, y), level, (width, height)))

    def close(self) -> None:
        self._slide.close()


def open_backend(path: Path) -> Backend:
    """Open a slide with OpenSlide where it can, else with tiatoolbox.

    Raises SlideError `unreadable`, or `needs_tiatoolbox` where that is not installed.
    """
    opened: OpenSlideBackend | None = None
    if path.is_dir() and path.suffix != ".zarr":
        raise SlideError(Status.UNREADABLE, f"{path}: is a folder; name the slide's file")
    problem = "not a slide format that OpenSlide reads, or cut short; copy it again"
    try:
        opened = OpenSlideBackend(path)
        if OME not in opened.properties.get("tiff.ImageDescription", ""):
            return opened
        opened.close()
    except openslide.OpenSlideUnsupportedFormatError:
        pass
    except openslide.OpenSlideError as error:
        raise SlideError(Status.UNREADABLE, f"{path}: {error}; the file may be cut short") from error
    if not (opened or path.name.lower().endswith(TOOLBOX_FORMATS)):
        raise SlideError(Status.UNREADABLE, f"{path}: {problem}")
    if find_spec("tiatoolbox") is None:
        raise SlideError(
            Status.NEEDS_TIATOOLBOX,
            f"{path}: this format is read through tiatoolbox, which has an environment of its own: `make tiatoolbox`",
        )
    from roformermil.slides.toolbox import ToolboxBackend

    try:
        return ToolboxBackend(path)
    except Exception as error:  # tiatoolbox raises what the library under it raises
        raise SlideError(Status.UNREADABLE, f"{path}: tiatoolbox: {error!r}") from error
