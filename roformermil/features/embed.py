"""The stage `embed`: tiles are read and encoded at once, in batches across slides, into one feature store per slide."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from roformermil.runtime.files import fingerprint
from roformermil.runtime.memory import one_reader
from roformermil.runtime.progress import track
from roformermil.runtime.provenance import commit, run_metadata
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.steps import check_unchanged
from roformermil.slides.tile_table import TileTable, read_valid_tile_table


class Embedder:
    """One encoder for a batch of slides: it is loaded, checked and compiled once.

    weights: identifies the encoder's weights (`weights_id`). profile: where the time went. timeout: seconds that
    reading a slide may stall. Raises WeightsError.
    """

    def __init__(self, settings: Encoder, timeout: float, progress: bool = True):
        self.settings, self.timeout, self.progress = settings, timeout, progress
        self.profile = Profile()
        with self.profile.timed("start"):
            trunk = load_trunk(settings)
            self.weights = weights_id(settings, trunk)
            self.encoder = TileEncoder(settings, trunk)
        on_gpu = self.encoder.device.type == "cuda"
        self.readers = self.profile.readers = settings.readers or (len(os.sched_getaffinity(0)) if on_gpu else 2)
        self._is_compiled = False

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
        with self.profile.timed("whole"), track(desc="embed", unit="tile", on=self.progress, total=total) as bar:
            slides = self._prepare_slides(usable, tile_tables, out, results, bar)
            spans = read_spans(slides, self.profile, results)
            for batch, vectors in self._encode(batch_spans(spans, self.settings.batch_size)):
                with self.profile.timed("encoding"):
                    complete = _distribute(batch, vectors)
                    results |= {slide.record.slide_id: self._write(slide, out) for slide in complete}
                tiles = sum(len(span.tiles) for span in batch)
                self.profile.tiles += tiles
                bar.update(tiles)
        return list(results.values())

    def _prepare_slides(
        self, records: list[SlideRecord], tile_tables: Path, out: Path, results: dict[str, SlideRecord], bar: Any
    ) -> Iterator[SlideWork]:
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
            stream = TileStream(record, table.coords, table.spec, self.readers, self.timeout)
            yield SlideWork(record, table, attributes, stream)

    def _store_attributes(self, record: SlideRecord, table: TileTable) -> dict[str, Any]:
        """Attributes of the slide's store: `fingerprint` follows all that decides its content."""
        encoder = {"encoder": self.settings.name, "weights": self.weights, "precision": self.encoder.precision}
        scale = {"tile_px": table.settings.tile_px, "target_mpp": table.settings.target_mpp}
        deciding = {**encoder, **scale, "base_px": table.spec.base_px, "mpp": record.mpp, "content": table.content}
        current = fingerprint(stage="embed", version=stage_versions.EMBED, coords=table.coords.tolist(), **deciding)
        origin = {"version": __version__, "commit": commit(), "run": run_metadata(self.encoder.device)}
        return {"slide_id": record.slide_id, **deciding, "fingerprint": current, **origin}

    def _encode(self, batches: Iterator[list[TileSpan]]) -> Iterator[tuple[list[TileSpan], Tensor]]:
        """Each batch with its vectors (batch_size, d) float32 on the device. A GPU already works on the next batch."""
        previous: tuple[list[TileSpan], Tensor] | None = None
        for batch in batches:
            if not self._is_compiled:
                with self.profile.timed("start"):
                    self.encoder.compile(tile_px=batch[0].tiles.shape[1])
                self._is_compiled = True
            with self.profile.timed("encoding"):
                vectors = self.encoder(torch.from_numpy(stack_tiles(batch, self.settings.batch_size)))
            if previous:
                yield previous
            previous = batch, vectors
        if previous:
            yield previous

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


def _distribute(batch: list[TileSpan], vectors: Tensor) -> list[SlideWork]:
    """The slides that have all their vectors, now that those of this batch are copied to them."""
    with np.errstate(over="ignore"):  # `write_store` refuses what overflows
        features = vectors.cpu().numpy().astype(np.float16)
    first, complete = 0, []
    for span in batch:
        if span.slide.add_features(span.first, features[first : first + len(span.tiles)]):
            complete.append(span.slide)
        first += len(span.tiles)
    return complete
