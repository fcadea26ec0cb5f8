"""Tiles of a slide read ahead of the encoder, by processes that have the slide open each for itself."""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.runtime.subprocesses import SubprocessStream
from roformermil.slides.reader import SlideReader
from roformermil.slides.tiles import TileSpec, fit_tile, read_tile

CHUNK = 32  # tiles that travel at a time, 6 MB of the default size


class Chunk(NamedTuple):
    """Some of a slide's tiles, in order."""

    tiles: np.ndarray  # (n, size, size, 3) uint8
    reading: float  # seconds that a reader took to decode them ...
    resizing: float  # ... and to bring them to size


class TileStream:
    """A slide's tiles in order, from `readers` processes that start at once. Close it: that ends them.

    Each reads every `readers`-th chunk, in the file's order, and is one chunk ahead: what waits in memory is bounded.
    Raises SlideError.
    """

    def __init__(self, row: SlideRecord, coords: np.ndarray, spec: TileSpec, readers: int, timeout: float):
        chunks = [coords[k : k + CHUNK] for k in range(0, len(coords), CHUNK)]
        self._count = len(chunks)
        self._sources = [
            SubprocessStream(read_chunks, row, chunks[k::readers], spec, timeout=timeout)
            for k in range(min(readers, self._count))
        ]

    def __iter__(self) -> Iterator[Chunk]:
        for k in range(self._count):
            yield next(self._sources[k % len(self._sources)])

    def close(self) -> None:
        for source in self._sources:
            source.close()


def read_chunks(row: SlideRecord, chunks: list[np.ndarray], spec: TileSpec) -> Iterator[Chunk]:
    """The work of one reader."""
    cv2.setNumThreads(1)  # readers are many already
    os.nice(5)  # an encoder on the same cores waits for its slowest thread: it goes first
    with SlideReader(row.path, row.sheet_mpp) as slide:
        for coords in chunks:
            start = time.perf_counter()
            pixels = [read_tile(slide, x, y, spec) for x, y in coords.tolist()]
            middle = time.perf_counter()
            tiles = np.stack([fit_tile(tile, spec) for tile in pixels])
            yield Chunk(tiles, middle - start, time.perf_counter() - middle)
