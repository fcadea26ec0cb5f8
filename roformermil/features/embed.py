"""The stage `embed`: tiles are read and encoded at once, in batches across slides, into one feature store per slide."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from roformermil import __version__
from roformermil.cohort.slide_table import SlideRecord, failed_record, lacked_memory
from roformermil.config import Encoder
from roformermil.errors import SlideError, Status
from roformermil.features.encoders import TileEncoder, load_trunk
from roformermil.features.profile import Profile
from roformermil.features.store import read_attributes, read_shape, write_store
from roformermil.features.tile_stream import SlideWork, TileSpan, TileStream, batch_spans, read_spans, stack_tiles
from roformermil.features.weights import weights_id
from roformermil.runtime import stage_versions
from roformermil.runtime.ahead import compute_ahead
from roformermil.runtime.files import fingerprint
from roformermil.runtime.memory import one_reader
from roformermil.runtime.progress import track
from roformermil.runtime.provenance import commit, run_metadata
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.runtime.termination import end_if_requested
from roformermil.slides.scratch import Copies, Copy
from roformermil.slides.steps import check_unchanged
from roformermil.slides.tile_table import TileTable, read_valid_tile_table
from roformermil.slides.tiles import reading_order

BATCHES_AHEAD = 2  # stacked, that wait for the encoder
COPIES_AHEAD = 1  # finished, that wait for the readers
BATCHES_BEGUN = 2  # on a GPU, after the one whose features are waited for: it works on while a store is written


class OutdatedSlide(NamedTuple):
    """A slide to encode."""

    record: SlideRecord
    table: TileTable
    attributes: dict[str, Any]  # of its store
    copy: Copy | None = None


class Batch(NamedTuple):
    """Tiles that are encoded at once, and where they come from."""

    parts: list[tuple[SlideWork, int, int]]  # slide, number of the first tile among the slide's, tiles
    tiles: Tensor  # (batch_size, tile_px, tile_px, 3) uint8 RGB, in pinned memory for a GPU


class Embedder:
    """One encoder for a batch of slides: it is loaded, checked and compiled once.

    weights: identifies the encoder's weights (`weights_id`). profile: where the time went. timeout: seconds that
    reading a slide may stall. scratch: where slides are copied to be read, if anywhere. Raises WeightsError.
    """

    def __init__(self, settings: Encoder, timeout: float, progress: bool = True, scratch: Path | None = None):
        self.settings, self.timeout, self.progress, self.scratch = settings, timeout, progress, scratch
        self.profile = Profile()
        with self.profile.timed("start"):
            trunk = load_trunk(settings)
            self.weights = weights_id(settings, trunk)
            self.encoder = TileEncoder(settings, trunk)
        cores = len(os.sched_getaffinity(0))
        self.readers = self.profile.readers = settings.readers or (cores if self.encoder.on_gpu else 2)
        self._is_prepared = False

    def embed(self, records: list[SlideRecord], tile_tables: Path, out: Path) -> list[SlideRecord]:
        """The records after encoding each usable slide's tiles into `{slide_id}.zarr` in `out`.

        tile_tables: folder that `tile` wrote. A slide that cannot be read becomes a failed record, one whose store is
        current is skipped, one that needs more memory than its part is tried once more, alone. Every batch has the same
        number of tiles: features do not depend on the other slides.
        """
        results = self._embed(records, tile_tables, out)
        readers, self.readers = self.readers, 1
        with one_reader():
            for k, record in enumerate(records):
                if lacked_memory(results[k], "embed"):
                    (results[k],) = self._embed([record], tile_tables, out)
        self.readers = readers
        return results

    def _embed(self, records: list[SlideRecord], tile_tables: Path, out: Path) -> list[SlideRecord]:
        usable = [record for record in records if record.is_ok]
        results = {record.slide_id: record for record in records}
        total = sum(record.tiles or 0 for record in usable)
        bars = track(desc="embed", unit="tile", on=self.progress, total=total)
        with self.profile.timed("whole"), bars as bar, closing(Copies(self.scratch, self.timeout)) as copies:
            outdated = self._copy(self._outdated_slides(usable, tile_tables, out, results, bar), copies)
            with closing(compute_ahead(self._stack(outdated, results), BATCHES_AHEAD)) as stacked:
                for batch, features in self._encode(stacked):
                    with self.profile.timed("encoding"):
                        complete = _distribute(batch, features)
                        results |= {slide.record.slide_id: self._write(slide, out) for slide in complete}
                    tiles = sum(count for _, _, count in batch.parts)
                    self.profile.tiles += tiles
                    bar.update(tiles)
        if any(results[record.slide_id] is record for record in usable):  # left after SIGTERM
            end_if_requested()
        return list(results.values())

    def _outdated_slides(
        self, records: list[SlideRecord], tile_tables: Path, out: Path, results: dict[str, SlideRecord], bar: Any
    ) -> Iterator[OutdatedSlide]:
        """The slides to encode; the records of the others go to `results`."""
        for record in records:
            try:
                if (table := read_valid_tile_table(path := tile_tables / f"{record.slide_id}.npz")) is None:
                    message = f"{path}: the tile table is missing or damaged; make it again: snakemake --forcerun tile"
                    raise SlideError(Status.UNREADABLE, message)
                run_in_subprocess(check_unchanged, record, table.content, timeout=self.timeout)
            except SlideError as error:
                results[record.slide_id] = failed_record(record, "embed", error)
                bar.update(record.tiles or 0)
                continue
            attributes = self._store_attributes(record, table)
            stored = read_attributes(path := out / f"{record.slide_id}.zarr")
            if (current := attributes["fingerprint"]) == stored.get("fingerprint"):
                tiles, values = read_shape(path)
                results[record.slide_id] = replace(record, tiles=tiles, values=values, fingerprint=current)
                bar.update(len(table.coords))
                continue
            yield OutdatedSlide(record, table, attributes)

    def _copy(self, slides: Iterator[OutdatedSlide], copies: Copies) -> Generator[OutdatedSlide, None, None]:
        """The slides, each once its copy is there, if it is to have one."""
        for slide in slides:
            yield slide._replace(copy=copies.make(slide.record.path, slide.record.slide_id))

    def _open(self, slides: Iterator[OutdatedSlide]) -> Iterator[SlideWork]:
        """The slides with readers that run."""
        for record, table, attributes, copy in slides:
            order = reading_order(table.grid)
            read = replace(record, path=copy.path) if copy else record
            stream = TileStream(read, table.coords[order], table.spec, self.readers, self.timeout)
            yield SlideWork(record, table, attributes, order, stream, copy)

    def _store_attributes(self, record: SlideRecord, table: TileTable) -> dict[str, Any]:
        """Attributes of the slide's store: `fingerprint` follows all that decides its content."""
        encoder = {"encoder": self.settings.name, "weights": self.weights, "precision": self.encoder.precision}
        scale = {"tile_px": table.settings.tile_px, "target_mpp": table.settings.target_mpp}
        deciding = {**encoder, **scale, "base_px": table.spec.base_px, "mpp": record.mpp, "content": table.content}
        current = fingerprint(stage="embed", version=stage_versions.EMBED, coords=table.coords.tolist(), **deciding)
        origin = {"version": __version__, "commit": commit(), "run": run_metadata(self.encoder.device)}
        return {"slide_id": record.slide_id, **deciding, "fingerprint": current, **origin}

    def _stack(
        self, slides: Generator[OutdatedSlide, None, None], results: dict[str, SlideRecord]
    ) -> Generator[Batch, None, None]:
        """The slides' tiles in batches. Runs in a thread of its own, with all that reads tiles."""
        if self.scratch:
            slides = compute_ahead(slides, COPIES_AHEAD)
        # closed here: an error elsewhere keeps them alive, and with them the thread that copies and the readers
        with closing(slides), closing(read_spans(self._open(slides), self.profile, results)) as spans:
            for batch in batch_spans(spans, self.encoder.batch_size):
                yield self._stack_batch(batch)

    def _stack_batch(self, batch: list[TileSpan]) -> Batch:
        """The batch as one tensor."""
        with self.profile.timed("stacking"):
            shape = (self.encoder.batch_size, *batch[0].tiles.shape[1:])
            tiles = torch.empty(shape, dtype=torch.uint8, pin_memory=self.encoder.on_gpu)
            stack_tiles(batch, tiles.numpy())
        return Batch([(span.slide, span.first, len(span.tiles)) for span in batch], tiles)

    def _encode(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, np.ndarray]]:
        """Each batch with its features (batch_size, d) float16. A GPU already works on the next ones."""
        begun: deque[tuple[Batch, Callable[[], np.ndarray]]] = deque()
        for batch in self._wait_for(batches):
            with self.profile.timed("encoding"):
                begun.append((batch, self.encoder.start(batch.tiles)))
            if len(begun) > BATCHES_BEGUN:
                yield self._finish(*begun.popleft())
        while begun:
            yield self._finish(*begun.popleft())

    def _wait_for(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            with self.profile.timed("waiting"):
                batch = next(batches, None)
            if batch is None:
                return
            if not self._is_prepared:
                with self.profile.timed("start"):
                    self.encoder.prepare(tile_px=batch.tiles.shape[1])
                self._is_prepared = True
            yield batch

    def _finish(self, batch: Batch, wait: Callable[[], np.ndarray]) -> tuple[Batch, np.ndarray]:
        with self.profile.timed("encoding"):
            return batch, wait()

    def _write(self, slide: SlideWork, out: Path) -> SlideRecord:
        """The slide's record after writing its store."""
        table = slide.table
        try:
            run_in_subprocess(check_unchanged, slide.record, table.content, timeout=self.timeout)
        except SlideError as error:
            return slide.failed_record(error)
        with self.profile.timed("writing"):
            path = out / f"{slide.record.slide_id}.zarr"
            write_store(path, slide.features, table.coords, table.grid, slide.attributes)
        return slide.finished_record()


def _distribute(batch: Batch, features: np.ndarray) -> list[SlideWork]:
    """The slides that have all their features, now that those of this batch are copied to them."""
    taken, complete = 0, []
    for slide, first, count in batch.parts:
        if slide.add_features(first, features[taken : taken + count]):
            complete.append(slide)
        taken += count
    return complete
