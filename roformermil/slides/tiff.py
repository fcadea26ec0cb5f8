"""The directories of a TIFF file: what its tags state of each image in it, without reading pixels."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, JPEG_TABLES = 256, 257, 258, 259, 262, 277, 347
STRIPS, TILES = (273, 279), (324, 325)  # tags of the offsets, and of the counts of bytes
TILE_WIDTH, TILE_HEIGHT = 322, 323
CLASSIC_TIFF = (b"II*\0", b"MM\0*")
BIG_TIFF = (b"II+\0",)  # Pillow does not read the other byte order


@dataclass(frozen=True)
class TiffDirectory:
    """One image of a TIFF file."""

    size: tuple[int, int]  # width, height
    tile: tuple[int, int] | None  # None where it is stored in strips
    compression: int
    bits: int  # per sample
    samples: int  # per pixel
    offsets: np.ndarray  # (n,) int64, of each tile or strip in the file
    counts: np.ndarray  # (n,) int64, bytes of each
    photometric: int  # 2: RGB, 6: YCbCr
    jpeg_tables: bytes  # that its tiles share, a JPEG without an image; b"" where each has its own

    @property
    def end(self) -> int:
        """Bytes that a file with all of its pixels has at least."""
        return int((self.offsets + self.counts).max(initial=0))

    def lacks(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(h, w) bool: whether the file lacks the tiles with the pixels of columns `x`, (w,) int, and rows `y`, (h,). None of
        a damaged directory, which does not state where all of its tiles are."""
        width, height = self.tile or self.size
        columns, rows = -(-self.size[0] // width), -(-self.size[1] // height)
        if len(self.offsets) < columns * rows:
            return np.zeros((len(y), len(x)), bool)
        tiles = (y // height)[:, None] * columns + x // width
        return np.take((self.offsets == 0) | (self.counts == 0), tiles, mode="clip")


def read_directories(path: Path) -> tuple[list[TiffDirectory], bool]:
    """The directories of a TIFF, and whether the file has all of them and of their pixels. ([], True) for other files."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged tags
        header = file.read(16)
        if header[:4] not in (CLASSIC_TIFF + BIG_TIFF) or len(header) < 16:
            return [], True
        ifd = TiffImagePlugin.ImageFileDirectory_v2(header if header[:4] in BIG_TIFF else header[:8])
        size, seen = path.stat().st_size, set[int]()
        directories: list[TiffDirectory] = []
        while (offset := ifd.next) and offset not in seen:
            seen.add(offset)
            if offset >= size:
                return directories, False
            file.seek(offset)
            try:
                ifd.load(file)
            except Exception:  # Pillow raises errors of many kinds for damaged directories
                return directories, False
            if ifd.next == offset:  # `load` came to the end of the file
                return directories, False
            with suppress(Exception):  # without the tags of an image, or damaged ones
                directories.append(_directory(ifd))
    return directories, all(directory.end <= size for directory in directories)


def _directory(ifd: Any) -> TiffDirectory:
    def first(tag: int, default: int) -> int:
        return int(np.atleast_1d(ifd.get(tag, default))[0])

    is_tiled = TILE_WIDTH in ifd
    offsets, counts = (np.atleast_1d(np.array(ifd.get(tag, []), np.int64)) for tag in (TILES if is_tiled else STRIPS))
    n = min(len(offsets), len(counts))
    tile = (int(ifd[TILE_WIDTH]), int(ifd[TILE_HEIGHT])) if is_tiled else None
    if tile and min(tile) < 1:
        raise ValueError("tiles without pixels")
    stated = (first(COMPRESSION, 1), first(BITS, 1), first(SAMPLES, 1))
    tables = ifd.get(JPEG_TABLES)
    pixels = (first(PHOTOMETRIC, 0), tables if isinstance(tables, bytes) else b"")
    return TiffDirectory((int(ifd[WIDTH]), int(ifd[HEIGHT])), tile, *stated, offsets[:n], counts[:n], *pixels)
