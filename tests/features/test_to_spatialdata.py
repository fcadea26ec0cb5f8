import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from roformermil.features.store import write_store
from roformermil.features.to_spatialdata import to_spatialdata

spatialdata = pytest.importorskip("spatialdata", reason="make test-spatialdata")
pytestmark = pytest.mark.spatialdata
GRID = np.array([[0, 0], [3, 1], [4, 1]])
VECTORS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float16)


def exported_and_read(tmp_path, **attributes):
    """A store of three tiles, exported, written and read."""
    attributes = {"slide_id": "s", "base_px": 200, "encoder": "net", "run": {"python": "3"}, **attributes}
    write_store(tmp_path / "s.zarr", VECTORS, GRID * 200, GRID, attributes)
    to_spatialdata(tmp_path / "s.zarr").write(tmp_path / "exported.zarr")
    return spatialdata.read_zarr(tmp_path / "exported.zarr")


def test_an_exported_file_has_squares_and_features(tmp_path):
    data = exported_and_read(tmp_path, mpp=0.25)
    assert data["tiles"].geometry.bounds.to_numpy().tolist() == [
        [0, 0, 200, 200],
        [600, 200, 800, 400],
        [800, 200, 1000, 400],
    ]
    assert np.array_equal(data["features"].X, VECTORS.astype(np.float32))
    assert data["features"].uns["slide"]["encoder"] == "net"


def test_a_query_by_position_returns_the_features_there(tmp_path):
    """By spatialdata's own query: the table's rows belong to their shapes."""
    data = exported_and_read(tmp_path, mpp=0.25)
    box = {"min_coordinate": [130, 40], "max_coordinate": [160, 80]}  # um, inside the second tile
    chosen = spatialdata.bounding_box_query(data, axes=("x", "y"), target_coordinate_system="um", **box)
    assert chosen["features"].obs[["grid_x", "grid_y"]].to_numpy().tolist() == [[3, 1]]
    assert np.array_equal(chosen["features"].X[0], VECTORS[1].astype(np.float32))


def test_a_store_without_mpp_has_pixel_coordinates_only(tmp_path):
    assert exported_and_read(tmp_path, mpp=None).coordinate_systems == ["global"]


def test_the_example_in_the_docs_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/python.md").read_text()
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "to_spatialdata" in block]
    monkeypatch.chdir(tmp_path)
    store = Path("results/demo/features/resnet50-random/demo_00.zarr")
    write_store(store, VECTORS, GRID * 200, GRID, {"slide_id": "s", "base_px": 200})
    (prediction,) = re.findall(r"(\w+)\.contributions", lines)
    exec(lines, {prediction: SimpleNamespace(contributions=np.arange(6).reshape(3, 2))})
    data = spatialdata.read_zarr("demo_00.spatialdata.zarr")
    assert data["features"].obs["contribution"].tolist() == [1, 3, 5]
