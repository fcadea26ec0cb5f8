"""One Zarr store a slide: its features, where they come from, and what decided them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from roformermil.errors import StoreError
from roformermil.runtime.files import atomic_path

ARRAYS = ("features", "coords", "grid")
CHUNK = 1024  # tiles a chunk; all chunks of an array lie in one shard, so a store is a handful of files


@dataclass(frozen=True)
class SlideFeatures:
    """A slide's tiles as vectors."""

    features: np.ndarray  # (n, d) float16
    coords: np.ndarray  # (n, 2) int32, level-0 pixel of a tile's top-left corner, (x, y)
    grid: np.ndarray  # (n, 2) int32, integer tile position, coords // step
    attributes: dict[str, Any]


def write_store(
    path: Path, features: np.ndarray, coords: np.ndarray, grid: np.ndarray, attributes: Mapping[str, Any]
) -> None:
    """Write a slide's store beside `path` and rename it when whole. Equal arguments give equal bytes.

    Raises StoreError for features that are not finite in float16.
    """
    with np.errstate(over="ignore"):  # what overflows is refused below
        half = features.astype(np.float16)
    if not np.isfinite(half).all():
        raise StoreError(f"{path}: features are not finite in float16; are the encoder's weights right?")
    arrays: dict[str, np.ndarray] = {"features": half, "coords": coords.astype(np.int32), "grid": grid.astype(np.int32)}
    with atomic_path(path) as scratch:
        said = {**attributes, "sha256": _sha256(arrays)}
        group = zarr.open_group(scratch, mode="w", zarr_format=3, attributes=said)
        for name, data in arrays.items():
            shard = -(-len(data) // CHUNK) * CHUNK
            array = group.create_array(
                name, shape=data.shape, dtype=data.dtype, chunks=(CHUNK, data.shape[1]),
                shards=(shard, data.shape[1]), compressors=ZstdCodec(level=3, checksum=True),
                config={"write_empty_chunks": True},  # so that a chunk that is not there is a chunk that was lost
            )  # fmt: skip
            array[:] = data


def read_store(path: Path) -> SlideFeatures:
    """Read a slide's store. Raises StoreError when there is none or it is damaged."""
    try:
        group = zarr.open_group(path, mode="r")
        _check_whole(group)
        features, coords, grid = (np.asarray(group[name]) for name in ARRAYS)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError(
            f"{path}: no whole feature store here ({error}); delete what is there and make it anew (in the pipeline: snakemake --forcerun embed)"
        ) from error
    return SlideFeatures(features, coords, grid, dict(group.attrs))


def is_as_written(path: Path) -> bool:
    """Whether the arrays are those that the store was written with; True for stores that do not say."""
    stored = read_store(path)
    arrays = {name: getattr(stored, name) for name in ARRAYS}
    return stored.attributes.get("sha256", found := _sha256(arrays)) == found


def _sha256(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in ARRAYS:
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def read_grid(path: Path) -> np.ndarray:
    """Tile positions (n, 2) of a slide, without its features. Raises StoreError."""
    try:
        return np.asarray(zarr.open_group(path, mode="r")["grid"])
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path}: no whole feature store here ({error})") from error


def read_attributes(path: Path) -> dict[str, Any]:
    """The store's attributes, empty when there is no whole store."""
    try:
        group = zarr.open_group(path, mode="r")
        _check_whole(group)
        return dict(group.attrs)
    except (OSError, KeyError, ValueError):
        return {}


def _check_whole(group: zarr.Group) -> None:
    """Raises ValueError where an array's file is gone: Zarr would read zeros in its place."""
    for name in ARRAYS:
        array = group[name]
        if not isinstance(array, zarr.Array) or array.nchunks_initialized < array.nchunks:
            raise ValueError(f"{name} is not whole")
