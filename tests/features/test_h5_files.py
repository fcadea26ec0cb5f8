import re

import h5py
import numpy as np
import pytest

from roformermil.features.h5_files import read_h5
from tests.factories import raises_slide_error
from tests.features.h5 import COORDS, VECTORS, write_h5

GRID = np.argwhere(np.ones((8, 5)))
PLACES = GRID * 512
MANY = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
SHAPES = [  # of CLAM's batch of all tiles, and others
    (VECTORS[None], COORDS),
    (VECTORS[None], COORDS[None]),
    (VECTORS[:, None], COORDS),
    (VECTORS[:, :, None, None], COORDS),
    (VECTORS.astype(np.float64), COORDS.astype(">f4")),
    (VECTORS.astype(np.float16), COORDS.astype(np.uint16)),
]
UNUSABLE = [
    (VECTORS, None, "contains features; expected coords .*; use the file that contains both, or write", "unreadable"),
    (1000 + 0.01 * MANY, PLACES, "100% of its values differ so little .* float16.*; subtract the mean", "unreadable"),
    (100 + 0.05 * MANY.astype(np.float64), PLACES, "100% of its values differ so little", "unreadable"),
    (MANY + [600 * k for k in range(6)] * np.ones((40, 1)), PLACES, "83% of its values differ so", "unreadable"),
    (-8 + 1e-12 * MANY.astype(np.float64), PLACES, "100% of its values differ so", "unreadable"),
    (VECTORS[:3], COORDS, r"features \(3, 6\) and coords \(4, 2\) are not .*each tile needs one vector", "unreadable"),
    (VECTORS[:0], COORDS[:0], "no tiles", "empty"),
    (np.zeros(0), np.zeros(0), "no tiles", "empty"),
    (VECTORS * np.nan, COORDS, "not finite: tile 0, tile 1, tile 2 and 1 more; encode", "unreadable"),
    (VECTORS * 1e6, COORDS, r"not finite in float16 \(up to .*e\+06, .*; multiply the features", "unreadable"),
    (
        VECTORS * np.float64(1e-9),
        COORDS,
        "100% of its values are .*e-11 to .*e-09, which float16 stores as 0",
        "unreadable",
    ),
    (VECTORS * [1, 1, 1, 1, 1, 1e-60], COORDS, "17% of its values are .*e-62 to .*e-61", "unreadable"),
    (VECTORS[:1], COORDS[:1], "no two tiles side by side", "unreadable"),
    (np.stack([VECTORS, VECTORS]), COORDS, "are not", "unreadable"),
    (VECTORS.T, COORDS, "one of them is transposed", "unreadable"),
    (VECTORS, COORDS.T, "one of them is transposed", "unreadable"),
    (VECTORS, np.hstack([COORDS, COORDS]), "keep only x and y", "unreadable"),
    (np.array([[b"a"], [b"b"]]), COORDS[:2], "not features", "unreadable"),
    (VECTORS, COORDS.astype("S6"), "not features", "unreadable"),
    (
        VECTORS[0],
        COORDS,
        r"features \(6,\) is one vector for the whole slide; use the features of its tiles",
        "unreadable",
    ),
    (VECTORS[:1], None, "is one vector for the whole slide", "unreadable"),
    (VECTORS * 0, COORDS, "4 of 4 tiles have only zeros as features", "unreadable"),
    (
        np.vstack([MANY[:37], MANY[37:] * 0]),
        PLACES,
        "3 of 40 tiles have only zeros .* tile 37, tile 38, tile 39;",
        "unreadable",
    ),
]
DROPPED = [  # rows after the first 40, and the warning
    (
        np.zeros((3, 6)),
        np.zeros((3, 2)),
        "3 of 43 tiles were dropped, since they have only zeros as features: tile 40, tile 41",
    ),
    (np.zeros((3, 6)), np.full((3, 2), np.nan), "3 of 43 tiles were dropped"),
    (np.full((3, 6), 1e-30), np.zeros((3, 2)), "3 of 43 tiles were dropped, since they have only almost zeros as feat"),
    (MANY[:1] * 1e-30, np.zeros((1, 2)), "1 of 41 tiles were dropped"),
    (np.full((3, 6), 0.5), np.zeros((3, 2)), "since they repeat the same features and coordinates at the end: tile 40"),
    (np.array([[0.5] * 6, [0.5 + 1e-9] * 6]), np.zeros((2, 2)), "2 of 42 tiles were dropped"),
    (np.repeat(MANY[:1], 4, axis=0), np.zeros((4, 2)), "4 of 44 tiles were dropped"),  # of another tile
    (np.full((2, 6), 0.5), np.full((2, 2), -1), "2 of 42 tiles were dropped"),
    (np.full((2, 6), 0.5), np.full((2, 2), np.nan), "2 of 42 tiles were dropped"),
    (MANY[-1:], PLACES[-1:], "1 of 41 tiles were dropped, since they are repeated: tile 40"),
    (np.zeros((1, 6)), PLACES[-1:] + 512, "1 of 41 tiles were dropped"),  # not encoded
    (
        MANY,
        PLACES,
        "40 of 80 tiles were dropped, since they are repeated: tile 40, tile 41",
    ),  # a pipeline that ran twice
]
FAITHFUL = [
    np.maximum(
        np.hstack([MANY, -MANY, MANY * 0, MANY * 1e-3]), 0
    ),  # of a ResNet: zeros, and values that are 0 in every tile
    np.hstack([MANY, np.where(np.arange(40)[:, None] == 7, MANY, 0.01)]),  # differences in a single tile
    np.hstack([MANY, np.full((40, 6), 1000.1)]) + np.float32(1e-30),  # values that are the same in every tile
    np.hstack([MANY, np.float32(1000) + np.float32(6.1e-5) * (MANY[:, :2] > 0)]),  # the same but for errors of float32
    MANY + np.float32(50),  # a large mean
    (1000 + MANY).astype(np.float16),
]
OTHER_FILES = [
    ("a.pt", b"PK\x03\x04", "a file of PyTorch, without coordinates; use the .h5 file of the same slide", "unreadable"),
    ("a.npy", b"\x93NUMPY", "not an .h5 file; write features and coords to an .h5 file", "unreadable"),
    ("a.csv", b"x,y\n", "not an .h5 file", "unreadable"),
    ("a.parquet", b"PAR1", "not an .h5 file", "unreadable"),
    ("a.svs", b"II*\0", "a slide; name its .h5 file in the column path", "unreadable"),
    ("a.h5", b"version https://git-lfs.github.com/spec/v1", "git lfs pull", "unreadable"),
    ("a.h5", b"\n<!DOCTYPE html>", "an HTML or XML page; download the file itself", "unreadable"),
    ("a.h5", b"\x1f\x8b\x08", "compressed by gzip; unpack it", "unreadable"),
    ("a.h5", b"something", "is not an HDF5 file; write", "unreadable"),
    ("a.h5", b"", "0 bytes; copy it again", "empty_file"),
]


@pytest.mark.parametrize(("features", "coords"), SHAPES)
def test_arrays_of_any_pipeline_are_read_as_one_row_per_tile(tmp_path, features, coords):
    tiles = read_h5(write_h5(tmp_path / "a.h5", features, coords))
    assert np.allclose(tiles.features, VECTORS, rtol=1e-3, atol=1e-3) and tiles.features.dtype == np.float32
    assert np.array_equal(tiles.coords, COORDS) and np.array_equal(tiles.grid, COORDS // 512) and not tiles.warnings


@pytest.mark.parametrize(("features", "coords", "message", "status"), UNUSABLE)
def test_files_that_cannot_be_imported_are_named(tmp_path, features, coords, message, status):
    path = write_h5(tmp_path / "a.h5", features, coords)
    with raises_slide_error(status, f"^{re.escape(str(path))}: .*{message}"):
        read_h5(path)


@pytest.mark.parametrize(("features", "coords", "warning"), DROPPED)
def test_rows_that_are_no_tiles_are_dropped_with_a_warning(tmp_path, features, coords, warning):
    path = write_h5(tmp_path / "a.h5", np.vstack([MANY, features]), np.vstack([PLACES, coords]), patch_size_level0=512)
    tiles = read_h5(path)
    assert np.array_equal(tiles.features, MANY) and np.array_equal(tiles.grid, GRID)
    assert len(tiles.warnings) == 1 and warning in tiles.warnings[0]


def test_a_message_names_the_row_in_the_file(tmp_path):
    """Also where rows before it were dropped."""
    features, coords = np.vstack([VECTORS[:1] * 0, VECTORS]), np.vstack([[0, 0], COORDS]).astype(float)
    coords[3] = np.nan
    with raises_slide_error("unreadable", r"tile 3 has coordinates \(nan, nan\)"):
        read_h5(write_h5(tmp_path / "a.h5", features, coords))
    features[3] = np.nan
    with raises_slide_error("unreadable", "not finite: tile 3; encode"):
        read_h5(write_h5(tmp_path / "a.h5", features, coords))


@pytest.mark.parametrize(
    ("features", "warning"),
    [
        (np.repeat(MANY[:20], [21, *[1] * 19], axis=0), "21 of 40 tiles have the same features"),
        (np.arange(240, dtype=np.int16).reshape(40, 6) + 1, "its features are integers (int16)"),
    ],
)
def test_odd_features_are_warned_of(tmp_path, features, warning):
    assert read_h5(write_h5(tmp_path / "a.h5", features, PLACES)).warnings == [warning]


@pytest.mark.parametrize("features", FAITHFUL)
def test_features_that_float16_keeps_are_accepted(tmp_path, features):
    assert read_h5(write_h5(tmp_path / "a.h5", features, PLACES)).warnings == []


@pytest.mark.parametrize(
    ("of_file", "attributes", "extractor"),
    [
        ({"extractor": "uni"}, {}, "uni"),
        ({}, {"model": b"ctp"}, "ctp"),
        ({"model": 3, "encoder": " "}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_the_model_that_the_file_names_is_read(tmp_path, of_file, attributes, extractor):
    path = write_h5(tmp_path / "a.h5", MANY, PLACES, of_file=of_file, patch_size_level0=512, **attributes)
    assert read_h5(path).extractor == extractor


def test_a_unit_of_the_features_is_not_the_coordinates(tmp_path):
    path = write_h5(tmp_path / "a.h5", MANY, PLACES)
    with h5py.File(path, "a") as file:
        file["features"].attrs["units"] = "a.u."
    assert not read_h5(path).warnings


@pytest.mark.parametrize(("name", "content", "message", "status"), OTHER_FILES)
def test_other_files_are_named_with_a_remedy(tmp_path, name, content, message, status):
    (tmp_path / name).write_bytes(content)
    with raises_slide_error(status, message):
        read_h5(tmp_path / name)


def test_a_folder_and_an_absent_file_are_named(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with raises_slide_error("unreadable", "not an .h5 file"):
        read_h5(tmp_path / "a.zarr")
    with raises_slide_error("missing", "no such file"):
        read_h5(tmp_path / "b.h5")


def test_a_truncated_file_is_named(tmp_path):
    path = write_h5(tmp_path / "a.h5")
    path.write_bytes(path.read_bytes()[:1000])
    with raises_slide_error("unreadable", "not features and coordinates.*truncated.*copy it again"):
        read_h5(path)
