"""Libraries that open slide files: OpenSlide, and tiatoolbox for formats that OpenSlide does not support."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import openslide

from roformermil.errors import SlideError, Status
from roformermil.runtime.subprocesses import preload

TOOLBOX_FORMATS = (".jp2", ".zarr", ".ome.tif", ".ome.tiff", ".qptiff")
OME_DESCRIPTION = "<OME"  # OpenSlide opens some OME-TIFFs, but without their pyramid and resolution
if find_spec("tiatoolbox"):
    preload("roformermil.slides.toolbox")  # importing it takes 10 s


class Backend(Protocol):
    """An open slide. Positions are level-0 pixels; sizes are (width, height)."""

    name: str
    level_sizes: tuple[tuple[int, int], ...]
    downsamples: tuple[float, ...]

    @property
    def properties(self) -> Mapping[str, str]:
        """The file's metadata, under OpenSlide's names."""

    def read(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
        """(height, width, 3 or 4) uint8: RGB, or RGBA with transparent pixels where nothing was scanned. Raises any
        error of the library."""

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
    """The slide opened with OpenSlide if possible, else with tiatoolbox.

    Raises SlideError `unreadable`, or `needs_tiatoolbox` where that is not installed.
    """
    if path.is_dir() and path.suffix != ".zarr":
        raise SlideError(Status.UNREADABLE, f"{path}: this is a folder; give the path of the slide's file")
    is_ome = False
    try:
        slide = OpenSlideBackend(path)
        is_ome = OME_DESCRIPTION in slide.properties.get("tiff.ImageDescription", "")
        if not is_ome:
            return slide
        slide.close()
    except openslide.OpenSlideUnsupportedFormatError:
        pass
    except openslide.OpenSlideError as error:
        raise SlideError(Status.UNREADABLE, f"{path}: {error}; if the file was cut short, copy it again") from error
    if not (is_ome or path.name.lower().endswith(TOOLBOX_FORMATS)):
        raise SlideError(
            Status.UNREADABLE,
            f"{path}: OpenSlide does not recognise this format; if the file was cut short, copy it again",
        )
    if find_spec("tiatoolbox") is None:
        raise SlideError(
            Status.NEEDS_TIATOOLBOX,
            f"{path}: this format needs tiatoolbox, which has its own environment: `make tiatoolbox`",
        )
    from roformermil.slides.toolbox import ToolboxBackend

    try:
        return ToolboxBackend(path)
    except Exception as error:  # tiatoolbox passes on the errors of the libraries that it uses
        raise SlideError(Status.UNREADABLE, f"{path}: tiatoolbox cannot open this file: {error!r}") from error
