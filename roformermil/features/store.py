"""One Zarr store per slide: its features, where its tiles are, and what the features were made with."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from roformermil.errors import StoreError
from roformermil.runtime.files import atomic_path

ARRAYS = ("features", "coords", "grid")
CHUNK = 1024  # tiles; all chunks of an array are in one shard, so that a store is a handful of files


@dataclass(frozen=True)
class SlideFeatures:
    """A slide's n tiles as vectors."""

    features: np.ndarray  # (n, d) float16
    coords: np.ndarray  # (n, 2) int32, level-0 pixel (x, y) of a tile's top-left corner; um if attribute unit is "um"
    grid: np.ndarray  # (n, 2) int32, integer tile position (x, y): coords // base_px, the nearest one where imported
    attributes: dict[str, Any]

    def plain_attributes(self) -> dict[str, str | int | float]:
        """The attributes that are text or numbers, which any file format can store."""
        return {key: value for key, value in self.attributes.items() if isinstance(value, (str, int, float))}


def write_store(
    path: Path, features: np.ndarray, coords: np.ndarray, grid: np.ndarray, attributes: Mapping[str, Any]
) -> None:
    """Write a slide's store atomically, with JSON-able attributes. Equal arguments give equal bytes.

    features: (n, d); coords, grid: (n, 2), see SlideFeatures. Raises StoreError for features not finite in float16.
    """
    with np.errstate(over="ignore"):  # checked below
        half = features.astype(np.float16)
    if not np.isfinite(half).all():
        raise StoreError(f"{path}: features are not finite in float16; are the encoder's weights right?")
    arrays: dict[str, np.ndarray] = {"features": half, "coords": coords.astype(np.int32), "grid": grid.astype(np.int32)}
    with atomic_path(path) as scratch:
        group = zarr.open_group(scratch, mode="w", attributes={**attributes, "sha256": _sha256(arrays)}, zarr_format=3)
        for name, data in arrays.items():
            count, width = data.shape
            shapes: Any = {"chunks": (CHUNK, width), "shards": (math.ceil(count / CHUNK) * CHUNK, width)}
            config: Any = {"write_empty_chunks": True}  # a missing chunk is then always an error
            group.create_array(name, data=data, **shapes, compressors=ZstdCodec(level=3, checksum=True), config=config)


def read_store(path: Path) -> SlideFeatures:
    """A slide's features, read from its store. Raises StoreError when it is missing, damaged or incomplete."""
    with _open_store(path) as group:
        features, coords, grid = (np.asarray(group[name]) for name in ARRAYS)
        return SlideFeatures(features, coords, grid, dict(group.attrs))


def read_store_in_pixels(path: Path) -> SlideFeatures:
    """As `read_store`, for other software: coords and base_px are level-0 pixels. Raises StoreError where they are not."""
    slide = read_store(path)
    problem = ""
    if not slide.attributes.get("base_px"):
        problem = "its attributes lack base_px, the side of a tile in level-0 pixels"
    elif slide.attributes.get("unit") == "um":
        problem = (
            "its coordinates are in um and cannot be exported as level-0 pixels; give the slide's mpp in the column"
        )
        problem += " mpp of the slide sheet and import it again"
    if problem:
        raise StoreError(f"{path.absolute()}: {problem}")
    return slide


def matches_checksum(path: Path) -> bool:
    """Whether the arrays have the checksum stored with them; True for a store without one. Raises StoreError."""
    slide = read_store(path)
    actual = _sha256({name: getattr(slide, name) for name in ARRAYS})
    return slide.attributes.get("sha256", actual) == actual


def _sha256(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in ARRAYS:
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def read_grid(path: Path) -> np.ndarray:
    """Tile positions (n, 2) of a slide, without its features. Raises StoreError."""
    with _open_store(path) as group:
        return np.asarray(group["grid"])


def read_shape(path: Path) -> tuple[int, int]:
    """Number of tiles of a slide and of values per tile. Raises StoreError."""
    with _open_store(path) as group:
        features: Any = group["features"]
        tiles, values = features.shape
        return tiles, values


def read_attributes(path: Path) -> dict[str, Any]:
    """The store's attributes; empty when it is missing or incomplete."""
    with suppress(StoreError), _open_store(path) as group:
        return dict(group.attrs)
    return {}


@contextmanager
def _open_store(path: Path) -> Iterator[zarr.Group]:
    """The store, whose arrays are complete: Zarr would read zeros where a file is missing. Raises StoreError."""
    try:
        group = zarr.open_group(path, mode="r")
        for name in ARRAYS:
            array = group[name]
            if not isinstance(array, zarr.Array) or array.nchunks_initialized < array.nchunks:
                raise ValueError(f"{name} is incomplete")
        yield group
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        remedy = "delete it and make it again (snakemake --forcerun embed; if imported: --forcerun import_features)"
        raise StoreError(f"{path}: not a complete feature store ({error}); {remedy}") from error
