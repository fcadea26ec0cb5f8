import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from roformermil.features.store import write_store

spatialdata = pytest.importorskip("spatialdata", reason="make test-spatialdata")
pytestmark = pytest.mark.spatialdata

from roformermil.features.to_spatialdata import to_spatialdata

GRID = np.array([[0, 0], [3, 1], [4, 1]])
VECTORS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float16)


def through_a_file(tmp_path, **attributes):
    """A store of three tiles, exported, written, read again."""
    said = {"slide_id": "s", "base_px": 200, "encoder": "net", "run": {"python": "3"}, **attributes}
    write_store(tmp_path / "s.zarr", VECTORS, GRID * 200, GRID, said)
    to_spatialdata(tmp_path / "s.zarr").write(tmp_path / "exported.zarr")
    return spatialdata.read_zarr(tmp_path / "exported.zarr")


def test_a_store_survives_the_way_through_a_file(tmp_path):
    found = through_a_file(tmp_path, mpp=0.25)
    assert found["tiles"].geometry.bounds.to_numpy().tolist() == [
        [0, 0, 200, 200],
        [600, 200, 800, 400],
        [800, 200, 1000, 400],
    ]
    assert np.array_equal(found["features"].X, VECTORS.astype(np.float32))
    assert found["features"].uns["slide"]["encoder"] == "net"


def test_a_place_is_found_with_its_features(tmp_path):
    """By spatialdata's own query: the table's rows follow their shapes."""
    found = through_a_file(tmp_path, mpp=0.25)
    box = {"min_coordinate": [130, 40], "max_coordinate": [160, 80]}  # um, inside the second tile
    chosen = spatialdata.bounding_box_query(found, axes=("x", "y"), target_coordinate_system="um", **box)
    assert chosen["features"].obs[["grid_x", "grid_y"]].to_numpy().tolist() == [[3, 1]]
    assert np.array_equal(chosen["features"].X[0], VECTORS[1].astype(np.float32))


def test_without_a_scale_there_are_pixels_alone(tmp_path):
    assert through_a_file(tmp_path, mpp=None).coordinate_systems == ["global"]


def test_the_lines_of_the_docs_work(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/python.md").read_text()
    (lines,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "to_spatialdata" in block]
    monkeypatch.chdir(tmp_path)
    write_store(
        Path("results/demo/features/resnet50-random/demo_00.zarr"),
        VECTORS,
        GRID * 200,
        GRID,
        {"slide_id": "s", "base_px": 200},
    )
    exec(lines, {"answer": SimpleNamespace(contributions=np.arange(6).reshape(3, 2))})
    found = spatialdata.read_zarr("demo_00.spatialdata.zarr")
    assert found["features"].obs["contribution"].tolist() == [1, 3, 5]
