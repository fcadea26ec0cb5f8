import anndata
import numpy as np
import pytest

from roformermil.errors import StoreError
from roformermil.features.store import write_store
from roformermil.features.to_anndata import to_anndata


def test_an_exported_file_has_features_and_positions(tmp_path):
    grid = np.array([[0, 0], [3, 1], [4, 1]])
    features = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float16)
    attributes = {"slide_id": "s", "base_px": 200, "mpp": None, "encoder": "net", "run": {"python": "3"}}
    write_store(tmp_path / "s.zarr", features, grid * 200, grid, attributes)
    to_anndata(tmp_path / "s.zarr").write_h5ad(tmp_path / "s.h5ad")
    read = anndata.read_h5ad(tmp_path / "s.h5ad")
    assert np.array_equal(read.X, features.astype(np.float32))
    assert read.obsm["spatial"].tolist() == [[100, 100], [700, 300], [900, 300]]
    assert read.obs[["grid_x", "grid_y"]].to_numpy().tolist() == grid.tolist()
    assert read.uns["slide"]["encoder"] == "net" and "mpp" not in read.uns["slide"]


def test_a_store_without_base_px_is_named(tmp_path):
    write_store(tmp_path / "s.zarr", np.zeros((1, 4)), np.zeros((1, 2)), np.zeros((1, 2)), {})
    with pytest.raises(StoreError, match=r"s\.zarr.*base_px"):
        to_anndata(tmp_path / "s.zarr")
