import filecmp

import numpy as np
import pytest
import zarr

from roformermil.errors import StoreError
from roformermil.features.store import matches_checksum, read_attributes, read_store, write_store

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(2500, 32)).astype(np.float32)
GRID = RNG.integers(0, 90, (2500, 2)).astype(np.int32)


def write(path):
    write_store(path, FEATURES, GRID * 257, GRID, {"slide_id": "s", "base_px": 257, "fingerprint": "f"})
    return path


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "s.zarr")


def test_a_store_returns_what_was_written(store):
    stored = read_store(store)
    expected = {"features": FEATURES.astype(np.float16), "coords": GRID * 257, "grid": GRID}
    for name, array in expected.items():
        np.testing.assert_array_equal(getattr(stored, name), array, strict=True)
    assert stored.attributes["base_px"] == 257


def test_features_that_overflow_are_refused_and_a_store_of_zeros_is_complete(tmp_path):
    with pytest.raises(StoreError, match="not finite"):
        write_store(tmp_path / "s.zarr", np.full((1, 4), 1e6), GRID[:1], GRID[:1], {})
    assert not list(tmp_path.iterdir())
    write_store(tmp_path / "s.zarr", np.zeros((1, 4)), np.zeros((1, 2)), np.zeros((1, 2)), {"fingerprint": "f"})
    assert len(read_store(tmp_path / "s.zarr").grid) == 1 and read_attributes(tmp_path / "s.zarr")["fingerprint"] == "f"


def test_a_store_is_a_few_files_with_equal_bytes_every_time(store, tmp_path):
    other, files = write(tmp_path / "other.zarr"), [path for path in store.rglob("*") if path.is_file()]
    assert len(files) <= 8
    assert all(filecmp.cmp(file, other / file.relative_to(store), shallow=False) for file in files)


def test_a_missing_or_damaged_store_is_named(store, tmp_path):
    assert read_attributes(tmp_path / "none.zarr") == {}
    with pytest.raises(StoreError, match=r"none\.zarr.*snakemake --forcerun embed"):
        read_store(tmp_path / "none.zarr")
    (store / "features/c/0/0").unlink()
    assert read_attributes(store) == {}, "incomplete: `embed` makes it again"
    with pytest.raises(StoreError, match="features is incomplete"):
        read_store(store)
    write(store)
    (store / "grid/zarr.json").unlink()
    with pytest.raises(StoreError, match=r"s\.zarr"):
        read_store(store)


def test_a_changed_or_missing_array_does_not_match_the_checksum(store, tmp_path):
    assert matches_checksum(store)
    zarr.open_group(store, mode="r+")["grid"][0] = 99
    assert not matches_checksum(store)
    with pytest.raises(StoreError):
        matches_checksum(tmp_path / "none.zarr")
