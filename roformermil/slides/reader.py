"""An open slide: its size, resolution and pixels. Positions are level-0 pixels, x before y; mpp is um/px."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from roformermil.errors import SlideError, Status
from roformermil.slides.backends import open_backend
from roformermil.slides.file_kinds import describe_unread
from roformermil.slides.native_tiles import FORMATS, NativeTiles, has_native_tiles
from roformermil.slides.pyramid import choose_windows, compare_levels, window_at
from roformermil.slides.scale import find_scale
from roformermil.slides.tiff import TiffDirectory, read_directories

BLOCK = 1024  # side of the blocks in which a level is read, in the level's pixels
MPP_TOLERANCE = 0.005  # levels of odd sizes have downsamples such as 4.0007
LARGEST_SIDE = 2**21  # pixels; ten times that of the largest scanners
LARGEST_OVERVIEW = 2**28  # pixels
GREY_MARGIN, LEAST_GREY = 25, 0.005  # grey levels between black and white; the part of a greyscale picture within them
# difference of a pixel's channels through rounding and compression; the part of those pixels that differs by more where a
# greyscale picture has a coloured scale bar
GREY_SPREAD, COLOURED_MARK = 3, 0.005
DIFFERENT_PIXELS = "its JPEG tiles decode to other pixels than OpenSlide shows, so OpenSlide reads it, more slowly"
EXCLUDE_IT = "exclude it (slide sheet: column exclude)"


class SlideReader:
    """An open slide. Not thread-safe: open one per thread, or let threads only `read` levels after `open_level`.

    Raises SlideError, naming the file: `missing`, `empty_file`, `unreadable`, `needs_tiatoolbox`, `absurd_size`, those
    of `find_scale`; `read_failed` when pixels cannot be read, `not_brightfield` when they are not 8-bit RGB.
    `warnings`: what was found odd about the slide so far; it can be used all the same.
    """

    def __init__(self, path: Path | str, mpp: float | None = None):
        self.path = Path(path)
        if not self.path.exists():
            raise SlideError(Status.MISSING, f"{path}: no such file")
        if self.path.stat().st_size == 0:
            raise SlideError(Status.EMPTY_FILE, f"{path}: the file is empty; copy it again")
        self._slide = open_backend(self.path)
        self.warnings: list[str] = []
        self._shows_level_0 = {0: True}  # levels that were compared
        self._native_tiles: dict[int, NativeTiles | None] = {}  # of levels that were read
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
            raise SlideError(Status(error.status), f"{path}: {error.problem}", error.remedy) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._slide.close()
        for tiles in filter(None, self._native_tiles.values()):
            tiles.close()

    @property
    def reader(self) -> str:
        """The libraries that read the pixels of level 0. The first time, opens that level."""
        return f"{self._slide.name}+simplejpeg" if self._native_level(0) else self._slide.name

    def open_level(self, level: int) -> None:
        """Open a level before it is first read. Where its JPEG tiles are read without OpenSlide, a few are compared with what
        OpenSlide shows: `warnings` says where they differ."""
        self._native_level(level)

    def level_for(self, mpp: float, places: Sequence[Sequence[float]] = ()) -> int:
        """The coarsest level that is at least as fine as `mpp` and shows at `places` (level-0 x and y) what level 0 shows;
        level 0 when none is."""
        for level in self._fine_levels(mpp):
            geometry = self.downsamples[level], self.level_sizes[level]
            if self._is_true(level, [window_at(x, y, *geometry) for x, y in places]):
                return level
        return 0

    def tiff_directory(self, level: int) -> TiffDirectory | None:
        """The directory of a tiled TIFF that this level is read from; None for other files."""
        return next((d for d in self._directories if d.tile and d.size == self.level_sizes[level]), None)

    def is_scanned(self, x: int, y: int, level: int) -> bool:
        """Whether a level has a pixel at this level-0 position, other than a transparent one."""
        pixel = self._read_or_reopen(x, y, 1, 1, level)
        return pixel.shape[2] == 3 or bool(pixel[0, 0, 3])

    def read(self, x: int, y: int, width: int, height: int, level: int = 0) -> np.ndarray:
        """Pixels (height, width, 3) uint8 RGB at level-0 position (x, y), white where nothing was scanned; width and
        height in the level's pixels."""
        if (native := self._read_native(x, y, width, height, level)) is not None:
            return native
        try:
            pixels = self._slide.read(x, y, width, height, level)
        except MemoryError:
            raise
        except Exception as error:  # each library has its own errors
            message = f"{self.path}: pixels at ({x}, {y}), level {level} cannot be read: {error}"
            raise SlideError(Status.READ_FAILED, message + describe_unread(self.path)) from error
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            kind = f"{pixels.dtype} {pixels.shape}"
            raise SlideError(Status.NOT_BRIGHTFIELD, f"{self.path}: pixels are {kind}, not 8-bit RGB")
        if pixels.shape[2] == 3:
            return np.ascontiguousarray(pixels)
        rgb, alpha = pixels[..., :3], pixels[..., 3:]
        if alpha.min() == 255:
            return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGBA2RGB)  # copies 40 times faster than NumPy
        return (255 - (255 - rgb.astype(np.uint16)) * alpha // 255).astype(np.uint8)

    def overview(self, mpp: float) -> np.ndarray:
        """The whole slide at `mpp`: (h, w, 3) uint8 RGB. Raises SlideError `absurd_size` above LARGEST_OVERVIEW."""
        width, height = (max(1, round(side * self.scale.mpp / mpp)) for side in self.size)
        if width * height > LARGEST_OVERVIEW:
            sizes = (
                f"{self.size[0]} x {self.size[1]} px of {self.scale.mpp:g} um make an overview of {width} x {height} px"
            )
            remedy = "check the slide's resolution, or raise tissue.mpp"
            raise SlideError(Status.ABSURD_SIZE, f"{self.path}: {sizes} at {mpp:g} um/px", remedy)
        for level in self._fine_levels(mpp):
            image = self._read_level(level, max(1, int(mpp / (self.scale.mpp * self.downsamples[level]))))
            if self._is_true(level, choose_windows(image, self.downsamples[level], self.level_sizes[level])):
                break
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        if _is_greyscale(image):
            message = f"{self.path}: the image is greyscale; only stained tissue in colour can be segmented"
            raise SlideError(Status.NOT_BRIGHTFIELD, message, EXCLUDE_IT)
        return image

    @cached_property
    def _directories(self) -> list[TiffDirectory]:
        """The directories of a TIFF that OpenSlide reads; none of other files."""
        return read_directories(self.path)[0] if self._slide.name == "openslide" and self.path.is_file() else []

    def _read_native(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray | None:
        """As `read`, without OpenSlide; None where that must read them."""
        downsample = self.downsamples[level]
        if x % downsample or y % downsample:
            return None  # OpenSlide interpolates between the level's pixels
        tiles = self._native_level(level)
        return None if tiles is None else tiles.read(int(x / downsample), int(y / downsample), width, height)

    def _native_level(self, level: int) -> NativeTiles | None:
        if level not in self._native_tiles:
            self._native_tiles[level] = self._open_native(level)
        return self._native_tiles[level]

    def _open_native(self, level: int) -> NativeTiles | None:
        """The level's native tiles; None where it has none that can be decoded to OpenSlide's pixels, with a warning where these
        were expected to be equal."""
        directory, downsample = self.tiff_directory(level), self.downsamples[level]
        if self._slide.format not in FORMATS or not downsample.is_integer():
            return None
        if directory is None or not has_native_tiles(directory):
            return None
        with suppress(OSError):
            tiles = NativeTiles(self.path, directory)
            for x, y, width, height in tiles.sample_places():
                expected = self._read_or_reopen(round(x * downsample), round(y * downsample), width, height, level)
                decoded = tiles.read(x, y, width, height)
                if decoded is not None and not np.array_equal(decoded, expected[..., :3]):
                    self.warnings.append(f"level {level}: {DIFFERENT_PIXELS}")
                    tiles.close()
                    return None
            return tiles
        return None

    def _fine_levels(self, mpp: float) -> list[int]:
        """The levels that are at least as fine as `mpp`, coarsest first; level 0 when none is."""
        fine = [k for k, d in enumerate(self.downsamples) if d * self.scale.mpp <= mpp * (1 + MPP_TOLERANCE)]
        return sorted(fine, key=lambda k: -self.downsamples[k]) or [0]

    def _is_true(self, level: int, windows: list[tuple[int, int]]) -> bool:
        """Whether a level shows in these windows what level 0 shows. A level is compared once; without windows it is not."""
        if level in self._shows_level_0 or not windows:
            return self._shows_level_0.get(level, True)
        size, downsample = self.level_sizes[level], self.downsamples[level]
        result = compare_levels(self._read_or_reopen, level, downsample, size, windows)
        self._shows_level_0[level] = result.is_same
        if not result.is_same:
            found = f"differs from level 0 at {result.wrong} of {result.windows} places compared"
            self.warnings.append(f"level {level} ({size[0]} x {size[1]} px) {found} and is not used")
        return result.is_same

    def _read_or_reopen(self, x: int, y: int, width: int, height: int, level: int) -> np.ndarray:
        """As a backend's `read`; transparent where that fails. Then the slide is opened again, as OpenSlide needs it."""
        try:
            return self._slide.read(x, y, width, height, level)
        except MemoryError:
            raise
        except Exception:
            self._slide.close()
            self._slide = open_backend(self.path)
            return np.zeros((height, width, 4), np.uint8)

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


def _is_greyscale(image: np.ndarray) -> bool:
    """Whether a picture lacks colour where it shows more than glass and padding, which lack it in slides of colour too."""
    darkest = image.min(axis=2)
    shown = (darkest > GREY_MARGIN) & (darkest < int(darkest.max()) - GREY_MARGIN)
    areas = (
        cv2.erode(shown.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    )  # without the line between glass and padding
    if areas.mean() <= LEAST_GREY:
        return False
    coloured = image.max(axis=2) - darkest > GREY_SPREAD
    return bool(coloured[areas].mean() < COLOURED_MARK)
