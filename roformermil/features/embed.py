"""The stage `embed`: tiles read and encoded side by side, in batches across slides, a feature store a slide."""

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roformermil import __version__
from roformermil.cohort.slide_table import SlideRecord, failed_record
from roformermil.config import Encoder
from roformermil.errors import SlideError, Status
from roformermil.features.encoders import build_encoder, compile_where_it_pays, load_trunk
from roformermil.features.profile import Profile
from roformermil.features.store import read_attributes, write_store
from roformermil.features.tile_stream import TileStream
from roformermil.features.weights import weights_id
from roformermil.runtime import stage_versions
from roformermil.runtime.files import fingerprint
from roformermil.runtime.progress import track
from roformermil.runtime.provenance import commit, run_metadata
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.steps import check_unchanged
from roformermil.slides.tile_table import TileTable, read_valid_tile_table


@dataclass
class Work:
    """A slide in hand."""

    number: int  # its row
    row: SlideRecord
    table: TileTable
    attributes: dict[str, Any]
    features: np.ndarray | None = None  # (n, d) float16, filled as batches come
    encoded: int = 0
    error: SlideError | None = None
    began: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Piece:
    """Tiles of one slide inside an encoder's batch."""

    work: Work
    start: int  # index of the first among the slide's tiles
    tiles: np.ndarray  # (n, size, size, 3) uint8


class Embedder:
    """One encoder for a batch of slides: weights, their checksum, compilation and the device are set up once."""

    def __init__(self, settings: Encoder, timeout: float = 600, progress: bool = True):
        self.settings, self.timeout, self.progress = settings, timeout, progress
        start = time.perf_counter()
        trunk = load_trunk(settings)
        self.weights = weights_id(settings, trunk)
        self.encoder = build_encoder(settings, trunk)
        on_gpu = self.encoder.device.type == "cuda"
        self.readers = settings.readers or (len(os.sched_getaffinity(0)) if on_gpu else 2)
        self.profile = Profile(self.readers, start=time.perf_counter() - start)
        self._compiled = False

    def embed(self, rows: list[SlideRecord], tables: Path, out: Path) -> list[SlideRecord]:
        """Encode the tiled slides among `rows` into `{slide_id}.zarr` in `out`; returns the rows as they now stand.

        A slide that cannot be read becomes a row that says so. Every call of the encoder has the same number of tiles, of
        whatever slides come next: a slide's features do not depend on its neighbours, and no slide leaves a rest.
        """
        began = time.perf_counter()
        done = list(rows)
        total = sum(row.tiles or 0 for row in rows if row.status == Status.OK)
        with track(desc="embed", unit="tile", on=self.progress, total=total) as bar:
            waiting: deque[tuple[list[Piece], Tensor]] = deque()
            for pieces in self._batches(self._pieces(rows, tables, out, done, bar)):
                with self._timed("encoding"):
                    waiting.append((pieces, self._encode(pieces)))
                    if len(waiting) > 1:  # a GPU is at work on the newer batch meanwhile
                        self._scatter(*waiting.popleft(), out, done, bar)
            while waiting:
                with self._timed("encoding"):
                    self._scatter(*waiting.popleft(), out, done, bar)
        self.profile.whole += time.perf_counter() - began
        return done

    def _prepare(self, number: int, row: SlideRecord, tables: Path, out: Path) -> Work | SlideRecord:
        """The slide as work, or its row where there is nothing to do."""
        path = tables / f"{row.slide_id}.npz"
        if (table := read_valid_tile_table(path)) is None:
            gone = SlideError(Status.UNREADABLE, f"{path}: its tiles are gone or damaged: snakemake --forcerun tile")
            return failed_record(row, "embed", gone)
        decided = {
            "encoder": self.settings.name,
            "weights": self.weights,
            "precision": self.encoder.precision,
            "tile_px": table.settings.tile_px,
            "target_mpp": table.settings.target_mpp,
            "base_px": table.spec.base_px,
            "mpp": row.mpp,
        }
        mark = fingerprint(
            stage="embed", revision=stage_versions.EMBED, slide=table.content, coords=table.coords.tolist(), **decided
        )
        try:
            run_in_subprocess(check_unchanged, row, table.content, timeout=self.timeout)
        except SlideError as error:
            return failed_record(row, "embed", error)
        if read_attributes(out / f"{row.slide_id}.zarr").get("fingerprint") == mark:
            return replace(row, tiles=len(table.coords), fingerprint=mark)
        attributes = {"slide_id": row.slide_id, **decided, "fingerprint": mark, "slide": table.content}
        attributes |= {"version": __version__, "commit": commit(), "run": run_metadata(self.encoder.device)}
        return Work(number, row, table, attributes)

    def _pieces(
        self, rows: list[SlideRecord], tables: Path, out: Path, done: list[SlideRecord], bar: Any
    ) -> Iterator[Piece]:
        """All tiles of all slides in order. While one slide is read, the next one's readers have begun."""
        todo = iter([(number, row) for number, row in enumerate(rows) if row.status == Status.OK])
        opened: deque[tuple[Work, TileStream]] = deque()

        def open_next() -> None:
            for number, row in todo:
                work = self._prepare(number, row, tables, out)
                if isinstance(work, Work):
                    table = work.table
                    stream = TileStream(row, table.coords, table.spec, self.readers, self.timeout)
                    opened.append((work, stream))
                    return
                done[number] = work
                bar.update(work.tiles or 0)

        try:
            open_next()
            while opened:
                open_next()
                yield from self._read(*opened[0], done)
                opened.popleft()[1].close()
        finally:
            for _, stream in opened:
                stream.close()

    def _read(self, work: Work, stream: TileStream, done: list[SlideRecord]) -> Iterator[Piece]:
        start = 0
        chunks = iter(stream)
        while True:
            try:
                with self._timed("waiting"):
                    chunk = next(chunks, None)
            except SlideError as error:  # what was read of it already is not used
                work.error = error
                done[work.number] = self._clocked(failed_record(work.row, "embed", error), work)
                return
            if chunk is None:
                return
            self.profile.reading += chunk.reading
            self.profile.resizing += chunk.resizing
            yield Piece(work, start, chunk.tiles)
            start += len(chunk.tiles)

    def _batches(self, pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
        """Pieces regrouped into lists of `batch_size` tiles; the last may have fewer."""
        size = self.settings.batch_size
        batch: list[Piece] = []
        room = size
        for piece in pieces:
            taken = 0
            while taken < len(piece.tiles):
                part = piece.tiles[taken : taken + room]
                batch.append(Piece(piece.work, piece.start + taken, part))
                taken, room = taken + len(part), room - len(part)
                if room == 0:
                    yield batch
                    batch, room = [], size
        if batch:
            yield batch

    def _encode(self, pieces: list[Piece]) -> Tensor:
        tiles = np.concatenate([piece.tiles for piece in pieces])
        if missing := self.settings.batch_size - len(tiles):  # the last batch: always the same shape
            tiles = np.concatenate([tiles, np.zeros((missing, *tiles.shape[1:]), np.uint8)])
        if not self._compiled:
            start = time.perf_counter()
            compile_where_it_pays(self.encoder, self.settings, tiles.shape[1])
            self._compiled = True
            seconds = time.perf_counter() - start
            self.profile.start += seconds
            self.profile.encoding -= seconds
        return self.encoder(torch.from_numpy(tiles))

    def _scatter(self, pieces: list[Piece], vectors: Tensor, out: Path, done: list[SlideRecord], bar: Any) -> None:
        """Give each slide its vectors; a slide that has all of them is written."""
        with np.errstate(over="ignore"):  # `write_store` refuses what overflows
            half = vectors.cpu().numpy().astype(np.float16)
        first = 0
        for piece in pieces:
            work, count = piece.work, len(piece.tiles)
            if work.features is None:
                work.features = np.empty((len(work.table.coords), half.shape[1]), np.float16)
            work.features[piece.start : piece.start + count] = half[first : first + count]
            first += count
            work.encoded += count
            bar.update(count)
            self.profile.tiles += count
            if work.encoded == len(work.table.coords) and work.error is None:
                self._finish(work, out, done)

    def _finish(self, work: Work, out: Path, done: list[SlideRecord]) -> None:
        row, table = work.row, work.table
        try:
            run_in_subprocess(check_unchanged, row, table.content, timeout=self.timeout)
        except SlideError as error:
            done[work.number] = self._clocked(failed_record(row, "embed", error), work)
            return
        assert work.features is not None
        with self._timed("writing"):
            write_store(out / f"{row.slide_id}.zarr", work.features, table.coords, table.grid, work.attributes)
        work.features = None
        fields = {"tiles": len(table.coords), "fingerprint": work.attributes["fingerprint"]}
        done[work.number] = self._clocked(replace(row, **fields), work)

    @staticmethod
    def _clocked(row: SlideRecord, work: Work) -> SlideRecord:
        return replace(row, seconds=round(row.seconds + time.perf_counter() - work.began, 3))

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        setattr(self.profile, part, getattr(self.profile, part) + time.perf_counter() - start)
