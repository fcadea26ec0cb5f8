"""Tiles read ahead of the encoder, by processes that each open the slide, in batches of one size across slides."""

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

import cv2
import numpy as np

from roformermil.cohort.slide_table import SlideRecord, failed_record
from roformermil.errors import SlideError
from roformermil.features.profile import Profile
from roformermil.runtime.subprocesses import SubprocessStream, preload
from roformermil.slides.reader import SlideReader
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
            start = time.perf_counter()
            pixels = [read_tile(slide, x, y, spec) for x, y in coords.tolist()]
            middle = time.perf_counter()
            tiles = np.stack([fit_tile(tile, spec) for tile in pixels])
            yield Chunk(tiles, middle - start, time.perf_counter() - middle)


@dataclass
class SlideWork:
    """A slide while it is encoded."""

    record: SlideRecord
    table: TileTable
    attributes: dict[str, Any]  # of its store
    stream: TileStream  # whose readers run already
    features: np.ndarray = field(init=False)  # (n, d) float16, filled as the encoder returns batches
    encoded: int = 0  # tiles so far
    failed: bool = False
    start: float = field(default_factory=time.perf_counter)

    def add_features(self, first: int, features: np.ndarray) -> bool:
        """Keep the features (k, d) float16 of the tiles from number `first`; returns whether the slide is complete."""
        if not self.encoded:
            self.features = np.empty((len(self.table.coords), features.shape[1]), np.float16)
        self.features[first : first + len(features)] = features
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
        return self._with_seconds(failed_record(self.record, "embed", error))

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


def stack_tiles(batch: list[TileSpan], batch_size: int) -> np.ndarray:
    """The tiles of a batch, (batch_size, tile_px, tile_px, 3) uint8; black ones fill an incomplete batch."""
    missing = batch_size - sum(len(span.tiles) for span in batch)
    black = np.zeros((missing, *batch[0].tiles.shape[1:]), np.uint8)
    return np.concatenate([*(span.tiles for span in batch), black])


def read_spans(slides: Iterator[SlideWork], profile: Profile, results: dict[str, SlideRecord]) -> Iterator[TileSpan]:
    """All tiles of all slides, in order. A slide that cannot be read ends early, its failed record goes to `results`.
    While one slide is read, the next is taken from `slides`, so that its readers start."""
    opened = deque(islice(slides, 1))
    try:
        while opened:
            opened.extend(islice(slides, 1))
            try:
                yield from _read_slide(opened[0], profile)
            except SlideError as error:
                results[opened[0].record.slide_id] = opened[0].failed_record(error)
            opened.popleft().stream.close()
    finally:
        for slide in opened:
            slide.stream.close()


def _read_slide(slide: SlideWork, profile: Profile) -> Iterator[TileSpan]:
    first, chunks = 0, iter(slide.stream)
    while True:
        with profile.timed("waiting"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        profile.reading += chunk.reading
        profile.resizing += chunk.resizing
        yield TileSpan(slide, first, chunk.tiles)
        first += len(chunk.tiles)
