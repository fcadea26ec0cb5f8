"""A level of a TIFF, read by decoding its JPEG tiles as they are stored: OpenSlide spends most of its time composing pixels.

Pixels equal OpenSlide's, or are left to it: what is absent, damaged, beyond the edge or of another kind.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import simplejpeg

from roformermil.slides.tiff import TiffDirectory

FORMATS = ("aperio", "generic-tiff")  # OpenSlide's names; tiles of others overlap, or are drawn from other levels
JPEG, RGB, YCBCR = 7, 2, 6
START = b"\xff\xd8"  # of every JPEG
STORED_AS_RGB = (
    b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"  # without it, decoders take three channels for YCbCr
)
CACHE_BYTES, LEAST_CACHED = 2**25, 4
COMPARED_TILES = 4  # with OpenSlide


def has_native_tiles(directory: TiffDirectory) -> bool:
    """Whether an image of a TIFF consists of 8-bit JPEG tiles in RGB or YCbCr, and the file states where each is."""
    if directory.tile is None or directory.compression != JPEG or directory.photometric not in (RGB, YCBCR):
        return False
    columns, rows = (-(-side // tile) for side, tile in zip(directory.size, directory.tile, strict=True))
    return directory.bits == 8 and directory.samples == 3 and len(directory.offsets) == columns * rows


class NativeTiles:
    """The pixels of a level with native tiles. Positions are in the level's pixels. Threads may share it.

    Tiles decoded last are kept, 32 MB of them. Raises OSError where the file cannot be opened.
    """

    def __init__(self, path: Path, directory: TiffDirectory):
        assert directory.tile
        self.size = directory.size
        self.tile = directory.tile  # width, height
        self.columns = -(-self.size[0] // self.tile[0])
        self._offsets, self._counts = directory.offsets, directory.counts
        self._header = START + (STORED_AS_RGB if directory.photometric == RGB else b"") + directory.jpeg_tables[2:-2]
        self._file = path.open("rb", buffering=0)
        cached = max(LEAST_CACHED, CACHE_BYTES // (3 * self.tile[0] * self.tile[1]))
        self._decode = lru_cache(cached)(self._decode_tile)

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray | None:
        """(height, width, 3) uint8 RGB; None where OpenSlide must read it, or say why it cannot be read."""
        if x < 0 or y < 0 or x + width > self.size[0] or y + height > self.size[1]:
            return None
        pixels = np.empty((height, width, 3), np.uint8)
        tile_width, tile_height = self.tile
        try:
            for row in range(y // tile_height, -(-(y + height) // tile_height)):
                top = row * tile_height - y  # of the tile in `pixels`
                for column in range(x // tile_width, -(-(x + width) // tile_width)):
                    left = column * tile_width - x
                    tile = self._decode(row * self.columns + column)[max(0, -top) :, max(0, -left) :]
                    part = pixels[max(0, top) : top + tile_height, max(0, left) : left + tile_width]
                    part[:] = tile[: part.shape[0], : part.shape[1]]
        except (OSError, ValueError, MemoryError):
            return None
        return pixels

    def sample_places(self) -> list[tuple[int, int, int, int]]:
        """x, y, width and height of a few tiles, from those of fewer bytes to that of most."""
        numbers = np.argsort(self._counts, kind="stable")[np.count_nonzero(self._counts == 0) :]
        chosen = np.arange(1, COMPARED_TILES + 1) * len(numbers) // COMPARED_TILES - 1  # -1 where there are fewer
        places = []
        for number in np.unique(numbers[chosen[chosen >= 0]]).tolist():
            x, y = number % self.columns * self.tile[0], number // self.columns * self.tile[1]
            places.append((x, y, min(self.tile[0], self.size[0] - x), min(self.tile[1], self.size[1] - y)))
        return places

    def close(self) -> None:
        self._file.close()

    def _decode_tile(self, number: int) -> np.ndarray:
        """(h, w, 3) uint8. Raises OSError, MemoryError, and ValueError for an absent tile and, as OpenSlide does, for any that is
        damaged: other decoders return grey pixels for what they lack."""
        data = os.pread(self._file.fileno(), int(self._counts[number]), int(self._offsets[number]))
        if not data.startswith(START):
            raise ValueError("not a JPEG")
        tile = np.empty((self.tile[1], self.tile[0], 3), np.uint8)
        decoded = simplejpeg.decode_jpeg(self._header + data[2:], "RGB", buffer=tile, strict=True)
        if decoded.shape != tile.shape:
            raise ValueError(f"a tile of {decoded.shape}, not {tile.shape}")
        return tile
