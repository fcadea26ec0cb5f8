import json
from operator import attrgetter

import numpy as np
import pytest

from roformermil.config import Tiles
from roformermil.slides.tile_table import TileTable, read_tile_table, read_valid_tile_table, write_tile_table
from roformermil.slides.tiles import TileSpec


@pytest.fixture
def table() -> TileTable:
    grid, tissue = np.array([[0, 0], [3, 1]], np.int32), np.array([0.5, 1], np.float32)
    return TileTable(grid, grid * 257, tissue, TileSpec(257, 0, 257, 128), Tiles(tile_px=128), "abc", "def", "odd; old")


def test_a_tile_table_is_read_as_it_was_written(table, tmp_path):
    write_tile_table(tmp_path / "one.npz", table)
    result = read_tile_table(tmp_path / "one.npz")
    for name in ("grid", "coords", "tissue"):
        np.testing.assert_array_equal(getattr(result, name), getattr(table, name), strict=True)
    stated = attrgetter("spec", "settings", "content", "fingerprint", "warnings")
    assert stated(result) == stated(table)


def test_a_missing_or_damaged_table_is_none(tmp_path):
    assert read_valid_tile_table(tmp_path / "one.npz") is None
    for content in (b"", b"PK no archive"):
        (tmp_path / "one.npz").write_bytes(content)
        assert read_valid_tile_table(tmp_path / "one.npz") is None


@pytest.mark.parametrize("change", [{"tiles": None}, {"spec": {"step": 257}}, {"tiles": {"size": 128}}])
def test_a_table_of_an_earlier_version_is_none(table, tmp_path, change):
    write_tile_table(tmp_path / "one.npz", table)
    with np.load(tmp_path / "one.npz") as file:
        arrays = dict(file)
    info = {key: value for key, value in (json.loads(str(arrays["info"])) | change).items() if value}
    np.savez(tmp_path / "one.npz", **arrays | {"info": np.array(json.dumps(info))})
    assert read_valid_tile_table(tmp_path / "one.npz") is None
