"""Features from and for other pipelines: HDF5 files, one per slide."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from roformermil import __version__
from roformermil.cohort.slide_table import SHOWN_SLIDES, SlideRecord, run_stage
from roformermil.errors import StoreError
from roformermil.features.coordinates import BASE_PX
from roformermil.features.h5_files import read_h5
from roformermil.features.store import read_attributes, read_shape, read_store_in_pixels, write_store
from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, fingerprint
from roformermil.runtime.progress import track
from roformermil.runtime.provenance import run_metadata
from roformermil.runtime.subprocesses import preload, run_in_subprocess
from roformermil.runtime.text import first_lines, join_some
from roformermil.slides.steps import slide_content

preload(__name__)  # otherwise each slide's process would import h5py and zarr, which takes most of its time


def import_slides(records: Sequence[SlideRecord], out: Path, encoder: str, timeout: float) -> list[SlideRecord]:
    """The records after importing every slide's features; see `import_slide`."""
    work = partial(run_in_subprocess, import_slide, timeout=timeout)
    content = partial(run_in_subprocess, slide_content, timeout=timeout)
    return run_stage("import", records, lambda record: work(record, out, encoder), content_of=content)


def import_slide(record: SlideRecord, out: Path, encoder: str) -> dict[str, Any]:
    """Write a slide's .h5 file as `{slide_id}.zarr` in `out`; skipped if that is current.

    encoder: what made the features. Returns fields of SlideRecord. Raises SlideError.
    """
    content = slide_content(record)
    deciding = {"encoder": encoder, "mpp": record.sheet_mpp}
    current = fingerprint(stage="import", version=stage_versions.IMPORT, content=content, **deciding)
    target = out / f"{record.slide_id}.zarr"
    stored = read_attributes(target)
    if stored.get("fingerprint") != current:
        tiles = read_h5(record.path, record.sheet_mpp)
        origin = {"fingerprint": current, "version": __version__, "run": run_metadata()}
        stored = {
            "slide_id": record.slide_id,
            "encoder": encoder,
            "base_px": tiles.base_px,
            **tiles.attributes,
            **origin,
        }
        stored |= {"warnings": "; ".join(tiles.warnings)} if tiles.warnings else {}
        stored |= {"extractor": tiles.extractor} if tiles.extractor else {}
        write_store(target, tiles.features, tiles.coords, tiles.grid, stored)
    tiles_values = dict(zip(("tiles", "values"), read_shape(target), strict=True))
    fields = {name: stored.get(name, "") for name in ("extractor", "warnings")}
    return {**tiles_values, **fields, "reader": "h5", "fingerprint": current, "content": content}


def inspect_features(record: SlideRecord) -> dict[str, Any]:
    """What a slide's .h5 file contains, as fields of SlideRecord. Raises SlideError."""
    tiles = read_h5(record.path, record.sheet_mpp)
    fields = {"tiles": len(tiles.coords), "values": tiles.features.shape[1], "extractor": tiles.extractor}
    return {**fields, "reader": "h5", "warnings": "; ".join(tiles.warnings)}


def export_stores(stores: Sequence[Path], out: Path) -> None:
    """Write every store as `{slide_id}.h5` in `out`; see `export_store`. Raises StoreError, which names all that cannot be
    exported, after the others are."""
    names = Counter(store.stem for store in stores)
    if repeated := [name for name, count in names.items() if count > 1]:
        remedy = "export each data set into a folder of its own"
        raise StoreError(f"several stores would be written to the same file: {join_some(repeated)}; {remedy}")
    failed = []
    for store in track(stores, desc="export", unit="slide"):
        try:
            export_store(store, out / f"{store.stem}.h5")
        except StoreError as error:
            failed.append(str(error))
    if failed:
        raise StoreError(first_lines(failed, SHOWN_SLIDES))


def export_store(store: Path, target: Path) -> None:
    """Write a store as an .h5 file that CLAM and TRIDENT read: `features` (n, d) float32, `coords` (n, 2) int64 and, as
    attributes of `coords`, a tile's side and the store's attributes. Raises StoreError, also for coordinates in um."""
    slide = read_store_in_pixels(store)
    attributes = {BASE_PX: slide.attributes["base_px"], **slide.plain_attributes(), "name": store.stem}
    with atomic_path(target) as scratch, h5py.File(scratch, "w") as file:
        file["features"] = slide.features.astype(np.float32)
        file["coords"] = slide.coords.astype(np.int64)
        file["coords"].attrs.update(attributes)
