"""Tiles of many slides in batches of one size: the batch that a slide does not fill continues with the next slide's tiles."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np

from roformermil.cohort.slide_table import SlideRecord, failed_record
from roformermil.errors import SlideError
from roformermil.features.profile import Profile
from roformermil.features.tile_stream import TileStream
from roformermil.slides.tile_table import TileTable


@dataclass
class SlideWork:
    """A slide while it is encoded."""

    record: SlideRecord
    table: TileTable
    attributes: dict[str, Any]  # of its store
    stream: TileStream  # whose readers run already
    features: np.ndarray | None = None  # (n, d) float16, filled as the encoder returns batches
    encoded: int = 0  # tiles so far
    failed: bool = False
    start: float = field(default_factory=time.perf_counter)

    def add_features(self, first: int, features: np.ndarray) -> bool:
        """Keep the features (k, d) float16 of the tiles from number `first` on; returns whether the slide is complete."""
        if self.features is None:
            self.features = np.empty((len(self.table.coords), features.shape[1]), np.float16)
        self.features[first : first + len(features)] = features
        self.encoded += len(features)
        return self.encoded == len(self.features) and not self.failed

    def finished_record(self) -> SlideRecord:
        """The slide's record once its store is written."""
        fingerprint = self.attributes["fingerprint"]
        return self._with_seconds(replace(self.record, tiles=len(self.table.coords), fingerprint=fingerprint))

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
    batch: list[TileSpan] = []
    room = batch_size
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
    tiles = np.concatenate([span.tiles for span in batch])
    if missing := batch_size - len(tiles):
        tiles = np.concatenate([tiles, np.zeros((missing, *tiles.shape[1:]), np.uint8)])
    return tiles


def read_spans(
    slides: Iterator[SlideWork], profile: Profile, on_error: Callable[[SlideWork, SlideError], None]
) -> Iterator[TileSpan]:
    """All tiles of all slides, in order. While one slide is read, the next is taken from `slides`, so that its readers start.

    A slide that cannot be read ends early, with a call of `on_error`.
    """
    opened = deque(islice(slides, 1))
    try:
        while opened:
            opened.extend(islice(slides, 1))
            try:
                yield from _read_slide(opened[0], profile)
            except SlideError as error:
                on_error(opened[0], error)
            opened.popleft().stream.close()
    finally:
        for slide in opened:
            slide.stream.close()


def _read_slide(slide: SlideWork, profile: Profile) -> Iterator[TileSpan]:
    first = 0
    chunks = iter(slide.stream)
    while True:
        with profile.timed("waiting"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        profile.reading += chunk.reading
        profile.resizing += chunk.resizing
        yield TileSpan(slide, first, chunk.tiles)
        first += len(chunk.tiles)
