from dataclasses import replace

import h5py
import numpy as np
import pytest

from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import SlideError
from roformermil.features.hdf5 import export_store, import_slide, read_h5
from roformermil.features.store import read_store, write_store
from tests.factories import raises_slide_error

COORDS = np.array([[10240, 512], [10240, 1024], [10752, 512], [12288, 2048]])
COARSE = np.argwhere(np.ones((10, 10))) * 512
SHIFT = np.array([5137, 17])  # to the right of it, 7 px out of line
DENSE = np.argwhere(np.ones((5, 5))) * 256
VECTORS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
PIPELINES = [
    ("features", VECTORS, {"patch_size": 256, "patch_level": 0}, 512),  # CLAM: base_px is not stated
    ("features", VECTORS[None], {}, 512),
    ("features", VECTORS, {"patch_size": 256, "patch_size_level0": 256}, 256),  # TRIDENT
    ("feats", VECTORS, {}, 512),
]
POSITIONS = [
    (np.concatenate([COARSE, COARSE[:5] + 100]), {"patch_size_level0": 512}, 512),  # a twentieth at most
    (np.concatenate([COARSE, COARSE[:7] + 100]), {"patch_size_level0": 512}, "107 tiles have only 100 positions"),
    (np.concatenate([COARSE + 10, COARSE + SHIFT]), {}, 512),  # CLAM: a grid per piece of tissue
    (DENSE, {"patch_size_level0": 512, "overlap": 128}, 256),  # TRIDENT: a tile's side, not the distance
    (DENSE, {"patch_size_level0": 512}, "only 9 positions"),
]
UNUSABLE = [
    (VECTORS, None, "expected coords", "unreadable"),
    (VECTORS[:3], COORDS, "are not", "unreadable"),
    (VECTORS[:0], COORDS[:0], "no tiles", "empty"),
    (VECTORS * np.nan, COORDS, "not finite", "unreadable"),
    (VECTORS * 1e6, COORDS, "not finite in float16", "unreadable"),
    (VECTORS[:1], COORDS[:1], "no two tiles side by side", "unreadable"),
    (np.stack([VECTORS, VECTORS]), COORDS, "are not", "unreadable"),
    (np.array([b"a", b"b"]), COORDS[:2], "not features", "unreadable"),
]


def write_h5(path, features=VECTORS, coords=COORDS, name="features", **attributes):
    with h5py.File(path, "w") as file:
        file[name] = features
        if coords is not None:
            file["coords"] = coords
            file["coords"].attrs.update(attributes)
    return path


@pytest.mark.parametrize(("name", "features", "attributes", "base_px"), PIPELINES)
def test_files_of_other_pipelines_become_stores(tmp_path, name, features, attributes, base_px):
    path = write_h5(tmp_path / "a.h5", features, COORDS, name, **attributes)
    assert import_slide(SlideRecord("a", path), tmp_path, "clam")["tiles"] == 4
    store = read_store(tmp_path / "a.zarr")
    assert np.array_equal(store.coords, COORDS) and np.array_equal(store.grid, COORDS // base_px)
    assert np.array_equal(store.features, VECTORS.astype(np.float16)) and store.attributes["encoder"] == "clam"


def test_a_current_store_is_kept_and_another_encoder_name_mpp_or_file_replaces_it(tmp_path):
    record = SlideRecord("a", write_h5(tmp_path / "a.h5"))
    first = import_slide(record, tmp_path, "clam")
    stamp = (tmp_path / "a.zarr").stat().st_mtime_ns
    assert import_slide(record, tmp_path, "clam") == first
    assert (tmp_path / "a.zarr").stat().st_mtime_ns == stamp
    second = import_slide(record, tmp_path, "trident")
    third = import_slide(replace(record, sheet_mpp=0.25), tmp_path, "trident")
    store = read_store(tmp_path / "a.zarr").attributes
    assert (store["encoder"], store["mpp"]) == ("trident", 0.25)
    write_h5(tmp_path / "a.h5", VECTORS + 1)
    fourth = import_slide(record, tmp_path, "clam")
    assert len({fields["fingerprint"] for fields in (first, second, third, fourth)}) == 4
    assert np.array_equal(read_store(tmp_path / "a.zarr").features, (VECTORS + 1).astype(np.float16))


@pytest.mark.parametrize(("coords", "attributes", "expected"), POSITIONS)
def test_base_px_is_the_distance_between_tiles_few_of_which_share_a_position(tmp_path, coords, attributes, expected):
    path = write_h5(tmp_path / "a.h5", np.ones((len(coords), 3), np.float32), coords, **attributes)
    if isinstance(expected, int):
        assert read_h5(path)[2] == expected
    else:
        with pytest.raises(SlideError, match=expected):
            read_h5(path)


def test_an_exported_store_is_imported_unchanged(tmp_path):
    grid = COORDS // 512
    write_store(tmp_path / "a.zarr", VECTORS, COORDS, grid, {"slide_id": "a", "base_px": 512, "mpp": None})
    export_store(tmp_path / "a.zarr", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert set(file) == {"features", "coords"}
        assert [file["coords"].attrs[key] for key in ("patch_size_level0", "slide_id", "name")] == [512, "a", "a"]
    import_slide(SlideRecord("b", tmp_path / "a.h5"), tmp_path, "x")
    two = read_store(tmp_path / "b.zarr")
    for array, expected in ((two.features, VECTORS.astype(np.float16)), (two.coords, COORDS), (two.grid, grid)):
        assert np.array_equal(array, expected)


@pytest.mark.parametrize(("features", "coords", "message", "status"), UNUSABLE)
def test_files_that_cannot_be_imported_are_named(tmp_path, features, coords, message, status):
    with raises_slide_error(status, message):
        read_h5(write_h5(tmp_path / "a.h5", features, coords))


def test_a_truncated_file_is_named(tmp_path):
    path = write_h5(tmp_path / "a.h5")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SlideError, match="not features and coordinates"):
        read_h5(path)


@pytest.mark.shared
def test_a_real_bag_keeps_its_coordinates(shared, tmp_path):
    path = shared / "mil_bags/TCGA-AD-6964-01Z-00-DX1.h5"
    assert import_slide(SlideRecord("a", path), tmp_path, "ctp")["tiles"] == 777
    store = read_store(tmp_path / "a.zarr")
    with h5py.File(path) as file:
        assert np.array_equal(store.coords, file["coords"])
        assert np.abs(store.features - file["feats"][:]).max() < 1e-2
    assert store.attributes["base_px"] == 512 and (store.grid * 512 == store.coords).all()
