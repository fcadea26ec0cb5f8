"""Libraries that open slide files: OpenSlide, and tiatoolbox for formats that OpenSlide does not support."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openslide

from roformermil.errors import SlideError, Status
from roformermil.runtime.subprocesses import preload
from roformermil.slides.file_kinds import explain_unopened

if TYPE_CHECKING:
    from roformermil.slides.toolbox import ToolboxBackend

TOOLBOX_FORMATS = (".jp2", ".zarr", ".ome.tif", ".ome.tiff", ".qptiff")
OME_DESCRIPTION = "<OME"  # OpenSlide opens some OME-TIFFs, but without their pyramid and resolution
if find_spec("tiatoolbox"):
    preload("roformermil.slides.toolbox")  # importing it takes 10 s


class OpenSlideBackend:
    """An open slide: SVS, NDPI, MRXS, SCN, VMS, BIF, generic tiled TIFF, DICOM, ... The interface of every backend:
    positions are level-0 pixels, sizes (width, height), and the file's metadata have OpenSlide's names."""

    name = "openslide"

    def __init__(self, path: Path):
        self._slide = openslide.OpenSlide(path)
        self.format: str = self._slide.properties[openslide.PROPERTY_NAME_VENDOR]
        self.level_sizes: tuple[tuple[int, int], ...] = self._slide.level_dimensions
        self.downsamples: tuple[float, ...] = self._slide.level_downsamples
        self.properties: Mapping[str, str] = self._slide.properties

    def read(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
        """(height, width, 3 or 4) uint8: RGB, or RGBA with transparent pixels where nothing was scanned. Raises any
        error of the library."""
        return np.asarray(self._slide.read_region((x, y), level, (width, height)))

    def close(self) -> None:
        self._slide.close()


def open_backend(path: Path) -> "OpenSlideBackend | ToolboxBackend":
    """The slide opened with OpenSlide if possible, else with tiatoolbox.

    Raises SlideError `unreadable`, or `needs_tiatoolbox` where that is not installed.
    """
    if path.is_dir() and path.suffix != ".zarr":
        raise SlideError(Status.UNREADABLE, f"{path}: this is a folder; give the path of the slide's file")
    is_for_toolbox = path.name.lower().endswith(TOOLBOX_FORMATS)
    try:
        slide = OpenSlideBackend(path)
        if OME_DESCRIPTION not in slide.properties.get("tiff.ImageDescription", ""):
            return slide
        slide.close()
    except openslide.OpenSlideError as error:
        if explanation := _explain(path, is_for_toolbox):
            raise SlideError(Status.UNREADABLE, f"{path}: {explanation}") from error
        if not is_for_toolbox:
            is_known = not isinstance(error, openslide.OpenSlideUnsupportedFormatError)
            problem = str(error) if is_known else "OpenSlide does not recognise this format"
            raise SlideError(
                Status.UNREADABLE, f"{path}: {problem}; if the file was cut short, copy it again"
            ) from error
    if find_spec("tiatoolbox") is None:
        message = f"{path}: this format needs tiatoolbox, which has its own environment: `make tiatoolbox`"
        raise SlideError(Status.NEEDS_TIATOOLBOX, message)
    from roformermil.slides.toolbox import ToolboxBackend

    try:
        return ToolboxBackend(path)
    except Exception as error:  # tiatoolbox passes on the errors of the libraries that it uses
        raise SlideError(Status.UNREADABLE, f"{path}: tiatoolbox cannot open this file: {error!r}") from error


def _explain(path: Path, is_for_toolbox: bool) -> str | None:
    try:
        return None if path.is_dir() else explain_unopened(path, is_for_toolbox)
    except OSError as error:
        return f"the file cannot be read: {error.strerror}"
