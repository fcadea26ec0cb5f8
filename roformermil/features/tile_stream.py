"""Tiles read ahead of the encoder, by processes that each open the slide, in batches of one size across slides."""

import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np

from roformermil.cohort.slide_table import SlideRecord, failed_record
from roformermil.errors import SlideError
from roformermil.features.profile import Profile
from roformermil.runtime.subprocesses import SubprocessStream, preload
from roformermil.runtime.termination import end_is_requested
from roformermil.slides.reader import SlideReader
from roformermil.slides.scratch import Copy
from roformermil.slides.tile_table import TileTable
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
        return (next(self._streams[k % len(self._streams)]) for k in range(self._count))

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


def read_chunks(record: SlideRecord, chunks: list[np.ndarray], spec: TileSpec) -> Iterator[Chunk]:
    """The tiles at each chunk's coordinates (k, 2). Runs in a process of its own."""
    cv2.setNumThreads(1)  # there is a process per core already
    os.nice(5)  # the encoder goes first: on shared cores it waits for its slowest thread
    with SlideReader(record.path, record.sheet_mpp) as slide:
        for coords in chunks:
            tiles = np.empty((len(coords), spec.tile_px, spec.tile_px, 3), np.uint8)
            reading = resizing = 0.0
            for tile, (x, y) in zip(tiles, coords.tolist(), strict=True):
                start = time.perf_counter()
                pixels = read_tile(slide, x, y, spec)
                middle = time.perf_counter()
                fit_tile(pixels, spec, out=tile)
                reading, resizing = reading + middle - start, resizing + time.perf_counter() - middle
            yield Chunk(tiles, reading, resizing)


@dataclass
class SlideWork:
    """A slide while it is encoded."""

    record: SlideRecord
    table: TileTable
    attributes: dict[str, Any]  # of its store
    order: np.ndarray  # (n,) int, in which the table's tiles are read
    stream: TileStream  # whose readers run already
    copy: Copy | None = None  # which they read, if there is one
    features: np.ndarray = field(init=False)  # (n, d) float16, filled as the encoder returns batches
    encoded: int = 0  # tiles so far
    failed: bool = False
    start: float = field(default_factory=time.perf_counter)

    def add_features(self, first: int, features: np.ndarray) -> bool:
        """Keep the features (k, d) float16 of the tiles read from number `first`; returns whether the slide is complete."""
        if not self.encoded:
            self.features = np.empty((len(self.table.coords), features.shape[1]), np.float16)
        self.features[self.order[first : first + len(features)]] = features
        self.encoded += len(features)
        return self.encoded == len(self.features) and not self.failed

    def finished_record(self) -> SlideRecord:
        """The slide's record once its store is written."""
        tiles, values = self.features.shape
        fields = {"tiles": tiles, "values": values, "fingerprint": self.attributes["fingerprint"]}
        return self._with_seconds(replace(self.record, **fields))

    def failed_record(self, error: SlideError) -> SlideRecord:
        """The slide's record after an error. What was read of it is not used."""
        self.failed = True
        if self.copy:
            error.problem = error.problem.replace(str(self.copy.path), str(self.record.path))
        return self._with_seconds(failed_record(self.record, "embed", error))

    def close(self) -> None:
        """End the readers, and remove the copy."""
        self.stream.close()
        if self.copy:
            self.copy.remove()

    def _with_seconds(self, record: SlideRecord) -> SlideRecord:
        return replace(record, seconds=round(record.seconds + time.perf_counter() - self.start, 3))


@dataclass(frozen=True)
class TileSpan:
    """Consecutive tiles of one slide."""

    slide: SlideWork
    first: int  # number of the first among the slide's tiles
    tiles: np.ndarray  # (k, tile_px, tile_px, 3) uint8 RGB


def batch_spans(spans: Iterator[TileSpan], batch_size: int) -> Iterator[list[TileSpan]]:
    """Batches of `batch_size` tiles in order, as spans; the last batch may have fewer."""
    batch, room = list[TileSpan](), batch_size
    for span in spans:
        used = 0
        while used < len(span.tiles):
            tiles = span.tiles[used : used + room]
            batch.append(TileSpan(span.slide, span.first + used, tiles))
            used, room = used + len(tiles), room - len(tiles)
            if room == 0:
                yield batch
                batch, room = [], batch_size
    if batch:
        yield batch


def stack_tiles(batch: list[TileSpan], out: np.ndarray) -> None:
    """Copy the tiles of a batch to `out` (batch_size, tile_px, tile_px, 3) uint8; black ones fill an incomplete batch."""
    tiles = sum(len(span.tiles) for span in batch)
    np.concatenate([span.tiles for span in batch], out=out[:tiles])
    out[tiles:] = 0


def read_spans(
    slides: Iterator[SlideWork], profile: Profile, results: dict[str, SlideRecord]
) -> Generator[TileSpan, None, None]:
    """All tiles of all slides, in order. A slide that cannot be read ends early, its failed record goes to `results`.
    While one slide is read, the next is taken from `slides`, so that its readers start. After SIGTERM they end with the slide."""
    opened = deque(islice(slides, 1))
    try:
        while opened and not end_is_requested():
            opened.extend(islice(slides, 1))
            try:
                yield from _read_slide(opened[0], profile)
            except SlideError as error:
                results[opened[0].record.slide_id] = opened[0].failed_record(error)
            opened.popleft().close()
    finally:
        for slide in opened:
            slide.close()


def _read_slide(slide: SlideWork, profile: Profile) -> Iterator[TileSpan]:
    first, chunks = 0, iter(slide.stream)
    while True:
        if (chunk := next(chunks, None)) is None:
            return
        profile.reading += chunk.reading
        profile.resizing += chunk.resizing
        yield TileSpan(slide, first, chunk.tiles)
        first += len(chunk.tiles)
