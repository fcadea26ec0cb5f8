import anndata
import numpy as np

from roformermil.features.store import write_store
from roformermil.features.to_anndata import to_anndata


def test_a_store_survives_the_way_through_a_file(tmp_path):
    grid = np.array([[0, 0], [3, 1], [4, 1]])
    features = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float16)
    said = {"slide_id": "s", "base_px": 200, "mpp": None, "encoder": "net", "run": {"python": "3"}}
    write_store(tmp_path / "s.zarr", features, grid * 200, grid, said)
    to_anndata(tmp_path / "s.zarr").write_h5ad(tmp_path / "s.h5ad")
    found = anndata.read_h5ad(tmp_path / "s.h5ad")
    assert np.array_equal(found.X, features.astype(np.float32))
    assert found.obsm["spatial"].tolist() == [[100, 100], [700, 300], [900, 300]]
    assert found.obs[["grid_x", "grid_y"]].to_numpy().tolist() == grid.tolist()
    assert found.uns["slide"]["encoder"] == "net" and "mpp" not in found.uns["slide"]
