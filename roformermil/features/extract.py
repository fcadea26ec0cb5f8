"""The stage `embed`: reading tiles and encoding them side by side, a feature store a slide."""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from roformermil import __version__, revisions
from roformermil.config import Encoder
from roformermil.features.encoders import TileEncoder, build_encoder, weights_id
from roformermil.features.store import read_attributes, write_store
from roformermil.files import fingerprint
from roformermil.slides.reader import SlideReader
from roformermil.slides.stages import read_tiles, slide_content
from roformermil.slides.tiles import TileSpec, read_tile, tile_spec
from roformermil.status import Status

READERS = 2  # threads, each with a slide handle of its own


class Embedder:
    """One encoder for a batch of slides: weights, their checksum and the device are set up once."""

    def __init__(self, settings: Encoder, progress: bool = True):
        self.settings, self.progress = settings, progress
        self.weights = weights_id(settings)
        self.encoder: TileEncoder = build_encoder(settings)

    def embed_slide(self, row: Status, tables: Path, out: Path) -> dict[str, Any]:
        """Encode a tiled slide into `{slide_id}.zarr` in `out`. Raises SlideError when its pixels cannot be read."""
        table = read_tiles(tables / f"{row.slide_id}.npz")
        target = out / f"{row.slide_id}.zarr"
        decided = {
            "encoder": self.settings.name,
            "weights": self.weights,
            "precision": self.encoder.precision,
            "tile_px": table.settings.size,
            "target_mpp": table.settings.mpp,
            "step": table.step,
            "mpp": row.mpp,
        }
        mark = fingerprint(
            stage="embed", revision=revisions.EMBED, slide=slide_content(row), coords=table.coords.tolist(), **decided
        )
        if read_attributes(target).get("fingerprint") == mark:
            return {"tiles": len(table.coords), "fingerprint": mark}
        with SlideReader(row.path, row.sheet_mpp) as slide:
            spec = tile_spec(slide, table.settings)
        tiles = stream_tiles(row, table.coords, spec, self.settings.batch_size)
        with tqdm(
            total=len(table.coords), desc=row.slide_id, unit="tile", leave=False, disable=not self.progress
        ) as bar:
            features = np.concatenate([self._encode(batch, bar) for batch in tiles])
        attributes = {"slide_id": row.slide_id, **decided, "version": __version__, "fingerprint": mark}
        write_store(target, features, table.coords, table.grid, attributes)
        return {"tiles": len(table.coords), "fingerprint": mark}

    def _encode(self, batch: np.ndarray, bar: Any) -> np.ndarray:
        vectors = self.encoder(torch.from_numpy(batch)).numpy()
        bar.update(len(batch))
        return vectors


def stream_tiles(row: Status, coords: np.ndarray, spec: TileSpec, batch_size: int) -> Iterator[np.ndarray]:
    """Batches (b, size, size, 3) uint8 of a slide's tiles in order, read ahead of the encoder by a few batches."""
    local = threading.local()
    handles: list[SlideReader] = []

    def read(chunk: np.ndarray) -> np.ndarray:
        if not hasattr(local, "slide"):
            local.slide = SlideReader(row.path, row.sheet_mpp)
            handles.append(local.slide)
        return np.stack([read_tile(local.slide, x, y, spec) for x, y in chunk.tolist()])

    chunks = (coords[k : k + batch_size] for k in range(0, len(coords), batch_size))
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="read")
    ahead: deque[Future[np.ndarray]] = deque()
    try:
        for chunk in chunks:
            ahead.append(pool.submit(read, chunk))
            if len(ahead) > READERS:  # bounds what waits in memory
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        for handle in handles:
            handle.close()
