"""Features to and from other pipelines: the HDF5 files of CLAM (Lu et al. 2021) and TRIDENT (Zhang et al. 2025), one a slide."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from roformermil import __version__
from roformermil.cohort.slide_table import SlideRecord, run_stage
from roformermil.errors import SlideError, Status
from roformermil.features.store import read_attributes, read_store, write_store
from roformermil.runtime import stage_versions
from roformermil.runtime.files import atomic_path, fingerprint
from roformermil.runtime.provenance import run_metadata
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.steps import slide_content

FEATURES = ("features", "feats", "embeddings")  # as the vectors are called, by pipeline
CROWDED = 0.05  # of a slide's tiles may share a place: where two pieces of tissue, each with its grid, touch
STEP = "patch_size_level0"  # TRIDENT's attribute of `coords`: side of a tile in level-0 pixels


def import_slide(row: SlideRecord, out: Path, encoder: str) -> dict[str, Any]:
    """Write a slide's .h5 file as `{slide_id}.zarr` in `out`, coordinates intact. Raises SlideError `unreadable`, `empty`."""
    content = slide_content(row)
    mark = fingerprint(stage="import", revision=stage_versions.IMPORT, file=content, encoder=encoder, mpp=row.sheet_mpp)
    target = out / f"{row.slide_id}.zarr"
    if read_attributes(target).get("fingerprint") != mark:
        features, coords, step = read_h5(Path(row.path))
        attributes = {
            "slide_id": row.slide_id,
            "encoder": encoder,
            "base_px": step,
            "version": __version__,
            "run": run_metadata(),
        }
        grid = coords // step
        write_store(target, features, coords, grid, {**attributes, "fingerprint": mark, "mpp": row.sheet_mpp})
        return {"tiles": len(grid), "fingerprint": mark, "reader": "h5", "content": content}
    return {"tiles": len(read_store(target).grid), "fingerprint": mark, "reader": "h5", "content": content}


def import_slides(records: Sequence[SlideRecord], out: Path, encoder: str, timeout: float) -> list[SlideRecord]:
    """Import every slide's features; see `import_slide`."""
    work = partial(run_in_subprocess, import_slide, timeout=timeout)
    content = partial(run_in_subprocess, slide_content, timeout=timeout)
    return run_stage("import", records, lambda record: work(record, out, encoder), content_of=content)


def read_h5(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Features (n, d), coords (n, 2) int32 in level-0 pixels, and the step between tiles in level-0 pixels.

    Raises SlideError for a file that holds no such thing, or tiles whose places in the grid coincide.
    """
    try:
        with h5py.File(path, "r") as file:
            name = next((name for name in FEATURES if name in file), None)
            if name is None or "coords" not in file:
                raise SlideError(
                    Status.UNREADABLE,
                    f"{path}: holds {', '.join(file) or 'nothing'}; expected coords and one of {', '.join(FEATURES)}",
                )
            features, coords = np.asarray(file[name], np.float32), np.asarray(file["coords"], np.int64)
            said = {**file.attrs, **file[name].attrs, **file["coords"].attrs}
            stated = 0 if said.get("overlap") else int(said.get(STEP) or 0)
        if features.ndim == 3 and len(features) == 1:  # CLAM: one batch of all tiles
            features, coords = features[0], coords.reshape(-1, 2)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SlideError(Status.UNREADABLE, f"{path}: not features and coordinates in HDF5 ({error})") from error
    if features.ndim != 2 or coords.shape != (len(features), 2):
        raise SlideError(
            Status.UNREADABLE, f"{path}: features {features.shape} and coords {coords.shape} are not (n, d) and (n, 2)"
        )
    if not len(features):
        raise SlideError(Status.EMPTY, f"{path}: has no tiles")
    if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
        raise SlideError(Status.UNREADABLE, f"{path}: its features are not finite in float16")
    step = stated or usual_step(coords, path)
    places = len(np.unique(coords // step, axis=0))
    if places < (1 - CROWDED) * len(coords):
        raise SlideError(
            Status.UNREADABLE,
            f"{path}: {len(coords)} tiles have only {places} places in a grid of {step} px: is its {STEP} right?",
        )
    return features, coords.astype(np.int32), step


def inspect_features(row: SlideRecord) -> dict[str, Any]:
    """How many tiles a file has. Raises SlideError."""
    return {"tiles": len(read_h5(Path(row.path))[0]), "reader": "h5"}


def usual_step(coords: np.ndarray, path: Path) -> int:
    """The most frequent distance of neighbours in a row or a column: pipelines lay a grid a piece of tissue, so that the
    smallest distance between any two rows says nothing. Raises SlideError where no two tiles share a row or a column."""
    gaps: list[np.ndarray] = []
    for along, across in ((0, 1), (1, 0)):
        order = np.lexsort((coords[:, along], coords[:, across]))
        steps = np.diff(coords[order], axis=0)
        gaps.append(steps[(steps[:, across] == 0) & (steps[:, along] > 0), along])
    sizes, counts = np.unique(np.concatenate(gaps), return_counts=True)
    if not len(sizes):
        raise SlideError(
            Status.UNREADABLE, f"{path}: no two tiles side by side, and no attribute {STEP} that says their step"
        )
    return int(sizes[counts.argmax()])


def export_store(store: Path, target: Path) -> None:
    """Write a store as an .h5 file that CLAM and TRIDENT read: `features` (n, d) float32, `coords` (n, 2) int64 and, as
    attributes of `coords`, the step and what else the store says. Raises StoreError."""
    stored = read_store(store)
    said = {key: value for key, value in stored.attributes.items() if isinstance(value, (str, int, float))}
    with atomic_path(target) as scratch, h5py.File(scratch, "w") as file:
        file["features"] = stored.features.astype(np.float32)
        file["coords"] = stored.coords.astype(np.int64)
        file["coords"].attrs.update({**said, "name": store.stem, STEP: said["base_px"]})
