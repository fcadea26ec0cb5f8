"""A slide's tile table: the grid that `tile` lays over it, stored for `embed`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from roformermil.config import Tiles
from roformermil.config.base import read_settings, to_json
from roformermil.errors import ConfigError
from roformermil.runtime.files import atomic_path
from roformermil.slides.tiles import TileSpec


@dataclass(frozen=True)
class TileTable:
    """The tiles of one slide, n of them."""

    grid: np.ndarray  # (n, 2) int32, integer tile position
    coords: np.ndarray  # (n, 2) int32, level-0 pixels
    tissue: np.ndarray  # (n,) float32, fraction of the tile that is tissue
    spec: TileSpec  # how each tile is read
    settings: Tiles  # of the grid
    content: str  # hash of the slide's file
    fingerprint: str
    warnings: str = ""  # as in SlideRecord


def write_tile_table(path: Path, table: TileTable) -> None:
    """Write a tile table (NumPy's .npz), atomically."""
    settings = {"spec": asdict(table.spec), "tiles": to_json(table.settings), "warnings": table.warnings}
    info = np.array(json.dumps({"fingerprint": table.fingerprint, "content": table.content, **settings}))
    with atomic_path(path) as scratch:
        np.savez_compressed(scratch, grid=table.grid, coords=table.coords, tissue=table.tissue, info=info)


def read_tile_table(path: Path) -> TileTable:
    """Read a tile table. Raises various errors for a file that is damaged or from an earlier version."""
    with np.load(path) as file:
        info = json.loads(str(file["info"]))
        settings = read_settings(Tiles, info["tiles"], str(path))
        parts = (TileSpec(**info["spec"]), settings, info["content"], info["fingerprint"], info["warnings"])
        return TileTable(file["grid"], file["coords"], file["tissue"], *parts)


def read_valid_tile_table(path: Path) -> TileTable | None:
    """The tile table; None where it is missing, damaged or from an earlier version."""
    try:
        return read_tile_table(path)
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile, ConfigError):
        return None
