"""Tiles of a slide read ahead of the encoder, by processes that each open the slide."""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.runtime.subprocesses import SubprocessStream, preload
from roformermil.slides.reader import SlideReader
from roformermil.slides.tiles import TileSpec, fit_tile, read_tile

CHUNK = 32  # tiles sent at a time, 6 MB at the default size
preload(__name__)


class Chunk(NamedTuple):
    """Consecutive tiles of a slide."""

    tiles: np.ndarray  # (k, tile_px, tile_px, 3) uint8 RGB
    reading: float  # seconds that decoding them took
    resizing: float  # seconds that resizing them took


class TileStream:
    """A slide's tiles in the order of `coords`, read by `readers` processes that start at once. `close` ends them.

    coords: (n, 2) int32, level-0 pixels. Each process reads every `readers`-th chunk and is at most one chunk ahead, so
    that memory stays bounded. timeout: seconds without a chunk. Iterating raises SlideError.
    """

    def __init__(self, record: SlideRecord, coords: np.ndarray, spec: TileSpec, readers: int, timeout: float):
        chunks = [coords[k : k + CHUNK] for k in range(0, len(coords), CHUNK)]
        self._count = len(chunks)
        self._streams = [
            SubprocessStream(read_chunks, record, chunks[k::readers], spec, timeout=timeout)
            for k in range(min(readers, self._count))
        ]

    def __iter__(self) -> Iterator[Chunk]:
        for k in range(self._count):
            yield next(self._streams[k % len(self._streams)])

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


def read_chunks(record: SlideRecord, chunks: list[np.ndarray], spec: TileSpec) -> Iterator[Chunk]:
    """The tiles at each chunk's coordinates (k, 2). Runs in a process of its own."""
    cv2.setNumThreads(1)  # there is a process per core already
    os.nice(5)  # the encoder goes first: on shared cores it waits for its slowest thread
    with SlideReader(record.path, record.sheet_mpp) as slide:
        for coords in chunks:
            start = time.perf_counter()
            pixels = [read_tile(slide, x, y, spec) for x, y in coords.tolist()]
            middle = time.perf_counter()
            tiles = np.stack([fit_tile(tile, spec) for tile in pixels])
            yield Chunk(tiles, middle - start, time.perf_counter() - middle)
