"""Features from and for CLAM (Lu et al. 2021), TRIDENT (Zhang et al. 2025) and alike: HDF5 files, one per slide."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from roformermil import __version__
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.errors import SlideError, Status
from roformermil.features.store import read_attributes, read_grid, read_store, write_store
from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, fingerprint
from roformermil.runtime.provenance import run_metadata
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.steps import slide_content

FEATURES = ("features", "feats", "embeddings")  # names of the array of vectors, by pipeline
MAX_SHARED = 0.05  # of a slide's tiles may share a grid position: where two pieces of tissue, each with its grid, touch
BASE_PX = "patch_size_level0"  # TRIDENT's attribute of `coords`: side of a tile in level-0 pixels


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
    if read_attributes(target).get("fingerprint") != current:
        features, coords, base_px = read_h5(record.path)
        origin = {"fingerprint": current, "version": __version__, "run": run_metadata()}
        attributes = {"slide_id": record.slide_id, **deciding, "base_px": base_px, **origin}
        write_store(target, features, coords, coords // base_px, attributes)
    return {"tiles": len(read_grid(target)), "fingerprint": current, "reader": "h5", "content": content}


def inspect_features(record: SlideRecord) -> dict[str, Any]:
    """Number of tiles and reader of a slide's .h5 file, as fields of SlideRecord. Raises SlideError."""
    return {"tiles": len(read_h5(record.path)[0]), "reader": "h5"}


def read_h5(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Features (n, d) float32, coords (n, 2) int32 in level-0 pixels, and base_px, the distance between tiles.

    Raises SlideError: `empty` without tiles; `unreadable` for a file without valid features and coordinates, or whose
    tiles do not lie in a grid.
    """
    features, coords, base_px = _read_arrays(path)
    if features.ndim != 2 or coords.shape != (len(features), 2):
        raise _unreadable(path, f"features {features.shape} and coords {coords.shape} are not (n, d) and (n, 2)")
    if not len(features):
        raise SlideError(Status.EMPTY, f"{path}: has no tiles")
    if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
        raise _unreadable(path, "its features are not finite in float16")
    base_px = base_px or most_frequent_distance(coords, path)
    positions = len(np.unique(coords // base_px, axis=0))
    if positions < (1 - MAX_SHARED) * len(coords):
        grid = f"only {positions} positions in a grid of {base_px} px"
        raise _unreadable(path, f"{len(coords)} tiles have {grid}; check {BASE_PX}")
    return features, coords.astype(np.int32), base_px


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """The arrays as stored, and base_px as stated in an attribute, 0 where it is not stated or tiles overlap."""
    try:
        with h5py.File(path, "r") as file:
            name = next((name for name in FEATURES if name in file), None)
            if name is None or "coords" not in file:
                content = f"contains {', '.join(file) or 'nothing'}"
                raise _unreadable(path, f"{content}; expected coords and one of {', '.join(FEATURES)}")
            features, coords = np.asarray(file[name], np.float32), np.asarray(file["coords"], np.int64)
            attributes = {**file.attrs, **file[name].attrs, **file["coords"].attrs}
            base_px = 0 if attributes.get("overlap") else int(attributes.get(BASE_PX) or 0)
        if features.ndim == 3 and len(features) == 1:  # CLAM: one batch of all tiles
            features, coords = features[0], coords.reshape(-1, 2)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, f"not features and coordinates in HDF5 ({error})") from error
    return features, coords, base_px


def _unreadable(path: Path, message: str) -> SlideError:
    return SlideError(Status.UNREADABLE, f"{path}: {message}")


def most_frequent_distance(coords: np.ndarray, path: Path) -> int:
    """The most frequent distance, in pixels, between neighbours in a row or a column.

    Pipelines lay a separate grid over each piece of tissue, so the smallest distance of any two rows means nothing.
    Raises SlideError where no two tiles share a row or a column.
    """
    distances: list[np.ndarray] = []
    for along, across in ((0, 1), (1, 0)):
        differences = np.diff(coords[np.lexsort((coords[:, along], coords[:, across]))], axis=0)
        neighbours = (differences[:, across] == 0) & (differences[:, along] > 0)
        distances.append(differences[neighbours, along])
    values, counts = np.unique(np.concatenate(distances), return_counts=True)
    if not len(values):
        raise _unreadable(path, f"no two tiles side by side, and no attribute {BASE_PX} that states their distance")
    return int(values[counts.argmax()])


def export_store(store: Path, target: Path) -> None:
    """Write a store as an .h5 file that CLAM and TRIDENT read: `features` (n, d) float32, `coords` (n, 2) int64 and, as
    attributes of `coords`, base_px and the store's attributes. Raises StoreError."""
    slide = read_store(store)
    attributes = {**slide.plain_attributes(), "name": store.stem, BASE_PX: slide.attributes["base_px"]}
    with atomic_path(target) as scratch, h5py.File(scratch, "w") as file:
        file["features"] = slide.features.astype(np.float32)
        file["coords"] = slide.coords.astype(np.int64)
        file["coords"].attrs.update(attributes)
