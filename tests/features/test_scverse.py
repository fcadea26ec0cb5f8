import re
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pytest

from roformermil import to_anndata, to_spatialdata
from roformermil.errors import StoreError
from roformermil.features.store import write_store
from tests import ROOT

GRID = np.array([[0, 0], [3, 1], [4, 1]])
VECTORS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float16)


def write_three_tiles(store, **attributes):
    attributes = {"slide_id": "s", "base_px": 200, "encoder": "net", "run": {"python": "3"}, **attributes}
    write_store(store, VECTORS, GRID * 200, GRID, attributes)
    return store


def test_an_exported_anndata_has_features_and_positions(tmp_path):
    to_anndata(write_three_tiles(tmp_path / "s.zarr", mpp=None)).write_h5ad(tmp_path / "s.h5ad")
    read = anndata.read_h5ad(tmp_path / "s.h5ad")
    assert np.array_equal(read.X, VECTORS.astype(np.float32))
    assert read.obsm["spatial"].tolist() == [[100, 100], [700, 300], [900, 300]]
    assert read.obs[["grid_x", "grid_y"]].to_numpy().tolist() == GRID.tolist()
    assert read.uns["slide"]["encoder"] == "net" and "mpp" not in read.uns["slide"]


def test_a_store_without_base_px_is_named(tmp_path):
    write_store(tmp_path / "s.zarr", VECTORS, GRID, GRID, {})
    with pytest.raises(StoreError, match=r"s\.zarr.*base_px"):
        to_anndata(tmp_path / "s.zarr")


@pytest.mark.spatialdata
def test_an_exported_spatialdata_has_squares_and_features_that_a_query_by_position_returns(tmp_path):
    spatialdata = pytest.importorskip("spatialdata", reason="make test-spatialdata")
    to_spatialdata(write_three_tiles(tmp_path / "s.zarr", mpp=0.25)).write(tmp_path / "exported.zarr")
    data = spatialdata.read_zarr(tmp_path / "exported.zarr")
    squares = [[0, 0, 200, 200], [600, 200, 800, 400], [800, 200, 1000, 400]]
    assert data["tiles"].geometry.bounds.to_numpy().tolist() == squares
    assert np.array_equal(data["features"].X, VECTORS.astype(np.float32))
    assert data["features"].uns["slide"]["encoder"] == "net"
    box = {"min_coordinate": [130, 40], "max_coordinate": [160, 80]}  # um, inside the second tile
    chosen = spatialdata.bounding_box_query(data, axes=("x", "y"), target_coordinate_system="um", **box)
    assert chosen["features"].obs[["grid_x", "grid_y"]].to_numpy().tolist() == [[3, 1]]
    assert np.array_equal(chosen["features"].X[0], VECTORS[1].astype(np.float32))
    to_spatialdata(write_three_tiles(tmp_path / "unscaled.zarr", mpp=None)).write(tmp_path / "pixels.zarr")
    assert spatialdata.read_zarr(tmp_path / "pixels.zarr").coordinate_systems == ["global"]


@pytest.mark.spatialdata
def test_the_example_in_the_docs_runs(tmp_path, monkeypatch):
    spatialdata = pytest.importorskip("spatialdata", reason="make test-spatialdata")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    (lines,) = [block for block in blocks if "to_spatialdata" in block]
    monkeypatch.chdir(tmp_path)
    write_three_tiles(Path("results/demo/features/resnet50-random/demo_00.zarr"))
    (prediction,) = re.findall(r"(\w+)\.contributions", lines)
    exec(lines, {prediction: SimpleNamespace(contributions=np.arange(6).reshape(3, 2))})
    data = spatialdata.read_zarr("demo_00.spatialdata.zarr")
    assert data["features"].obs["contribution"].tolist() == [1, 3, 5]
