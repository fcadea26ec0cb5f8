import filecmp

import numpy as np
import pytest

from roformermil.errors import StoreError
from roformermil.features.store import read_attributes, read_store, write_store

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(2500, 32)).astype(np.float32)
GRID = RNG.integers(0, 90, (2500, 2)).astype(np.int32)


def write(path):
    write_store(path, FEATURES, GRID * 257, GRID, {"slide_id": "s", "base_px": 257, "fingerprint": "f"})


def test_what_is_written_is_read(tmp_path):
    write(tmp_path / "s.zarr")
    stored = read_store(tmp_path / "s.zarr")
    assert stored.features.dtype == np.float16
    assert stored.coords.dtype == stored.grid.dtype == np.int32
    assert np.array_equal(stored.features, FEATURES.astype(np.float16))
    assert np.array_equal(stored.coords, GRID * 257)
    assert stored.attributes["base_px"] == 257


def test_a_tile_at_the_origin_is_whole(tmp_path):
    write_store(tmp_path / "s.zarr", np.zeros((1, 4)), np.zeros((1, 2)), np.zeros((1, 2)), {"fingerprint": "f"})
    assert len(read_store(tmp_path / "s.zarr").grid) == 1
    assert read_attributes(tmp_path / "s.zarr")["fingerprint"] == "f"


def test_a_store_is_few_files_and_the_same_bytes_every_time(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / f"{name}.zarr")
    files = [p for p in (tmp_path / "one.zarr").rglob("*") if p.is_file()]
    assert len(files) <= 8
    for file in files:
        assert filecmp.cmp(file, tmp_path / "two.zarr" / file.relative_to(tmp_path / "one.zarr"), shallow=False)


def test_a_missing_or_damaged_store_is_named(tmp_path):
    assert read_attributes(tmp_path / "none.zarr") == {}
    with pytest.raises(StoreError, match=r"none\.zarr.*snakemake --forcerun embed"):
        read_store(tmp_path / "none.zarr")
    write(tmp_path / "s.zarr")
    (tmp_path / "s.zarr/features/c/0/0").unlink()
    assert read_attributes(tmp_path / "s.zarr") == {}, "not taken for whole: `embed` makes it anew"
    with pytest.raises(StoreError, match="features is not whole"):
        read_store(tmp_path / "s.zarr")
    write(tmp_path / "s.zarr")
    (tmp_path / "s.zarr/grid/zarr.json").unlink()
    with pytest.raises(StoreError, match=r"s\.zarr"):
        read_store(tmp_path / "s.zarr")


def test_features_that_overflow_are_refused(tmp_path):
    with pytest.raises(StoreError, match="not finite"):
        write_store(tmp_path / "s.zarr", np.full((1, 4), 1e6), GRID[:1], GRID[:1], {})
    assert not list(tmp_path.iterdir())
