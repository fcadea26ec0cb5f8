"""Features to and from other pipelines: the HDF5 files of CLAM (Lu et al. 2021) and TRIDENT (Zhang et al. 2025), one a slide."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from roformermil import __version__, revisions
from roformermil.errors import Reason, SlideError
from roformermil.features.store import read_attributes, read_store, write_store
from roformermil.files import atomic_path, fingerprint
from roformermil.slides.stages import slide_content
from roformermil.status import Status

FEATURES = ("features", "feats", "embeddings")  # as the vectors are called, by pipeline
STEP = "patch_size_level0"  # TRIDENT's attribute of `coords`: side of a tile in level-0 pixels


def import_slide(row: Status, out: Path, encoder: str) -> dict[str, Any]:
    """Write a slide's .h5 file as `{slide_id}.zarr` in `out`, coordinates intact. Raises SlideError `unreadable`, `empty`."""
    mark = fingerprint(stage="import", revision=revisions.IMPORT, file=slide_content(row), encoder=encoder)
    target = out / f"{row.slide_id}.zarr"
    if read_attributes(target).get("fingerprint") != mark:
        features, coords, step = read_h5(Path(row.path))
        attributes = {"slide_id": row.slide_id, "encoder": encoder, "step": step, "version": __version__}
        grid = coords // step
        write_store(target, features, coords, grid, {**attributes, "fingerprint": mark, "mpp": row.sheet_mpp})
        return {"tiles": len(grid), "fingerprint": mark, "reader": "h5"}
    return {"tiles": len(read_store(target).grid), "fingerprint": mark, "reader": "h5"}


def read_h5(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Features (n, d), coords (n, 2) int32 in level-0 pixels, and the step between tiles in level-0 pixels.

    The step is what the file says, else the smallest distance between two columns or rows of tiles.
    Raises SlideError for a file that holds no such thing.
    """
    try:
        with h5py.File(path, "r") as file:
            name = next((name for name in FEATURES if name in file), None)
            if name is None or "coords" not in file:
                raise SlideError(
                    Reason.UNREADABLE,
                    f"{path}: holds {', '.join(file) or 'nothing'}; expected coords and one of {', '.join(FEATURES)}",
                )
            features, coords = np.asarray(file[name]), np.asarray(file["coords"])
            stated = {**file.attrs, **file[name].attrs, **file["coords"].attrs}.get(STEP)
    except (OSError, KeyError, ValueError) as error:
        raise SlideError(Reason.UNREADABLE, f"{path}: not a whole HDF5 file ({error})") from error
    features = features.reshape(features.shape[-2:]) if features.ndim == 3 else features  # CLAM: one batch of all tiles
    coords = coords.reshape(coords.shape[-2:]) if coords.ndim == 3 else coords
    if features.ndim != 2 or coords.shape != (len(features), 2):
        raise SlideError(
            Reason.UNREADABLE, f"{path}: features {features.shape} and coords {coords.shape} are not (n, d) and (n, 2)"
        )
    if not len(features):
        raise SlideError(Reason.EMPTY, f"{path}: has no tiles")
    if not np.isfinite(features).all() or np.abs(features).max() > np.finfo(np.float16).max:
        raise SlideError(Reason.UNREADABLE, f"{path}: its features are not finite in float16")
    return features, coords.astype(np.int32), int(stated) if stated else smallest_step(coords, path)


def open_features(row: Status) -> dict[str, Any]:
    """How many tiles a file has. Raises SlideError."""
    return {"tiles": len(read_h5(Path(row.path))[0]), "reader": "h5"}


def smallest_step(coords: np.ndarray, path: Path) -> int:
    """The smallest distance between two columns or rows. Raises SlideError for a slide of one tile, which has none."""
    gaps = np.concatenate([np.diff(np.unique(axis)) for axis in coords.T])
    if not len(gaps):
        raise SlideError(Reason.UNREADABLE, f"{path}: one tile, and no attribute {STEP} that says how large it is")
    return int(gaps.min())


def export_store(store: Path, target: Path) -> None:
    """Write a store as an .h5 file that CLAM and TRIDENT read: `features` (n, d) float32, `coords` (n, 2) int64 and, as
    attributes of `coords`, the step and what else the store says. Raises StoreError."""
    stored = read_store(store)
    said = {key: value for key, value in stored.attributes.items() if value is not None}
    with atomic_path(target) as scratch, h5py.File(scratch, "w") as file:
        file["features"] = stored.features.astype(np.float32)
        file["coords"] = stored.coords.astype(np.int64)
        file["coords"].attrs.update({**said, "name": store.stem, STEP: said["step"]})
