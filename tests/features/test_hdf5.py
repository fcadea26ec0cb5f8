import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from roformermil.check import check_config
from roformermil.cli import app
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.errors import BagError, StoreError
from roformermil.features.hdf5 import export_store, import_slide, import_slides, inspect_features
from roformermil.features.store import read_store, write_store
from roformermil.features.to_anndata import to_anndata
from roformermil.runtime.records import write_records
from tests.factories import raises_slide_error
from tests.features.h5 import COORDS, VECTORS, write_h5

GRID = np.argwhere(np.random.default_rng(0).random((12, 9)) < 0.7)
MANY = np.random.default_rng(1).normal(size=(len(GRID), 6))
STAMP = {"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224}
PIPELINES = [
    ("features", VECTORS, {"patch_size": 256, "patch_level": 0}, 512),  # CLAM: base_px is not stated
    ("features", VECTORS[None], {}, 512),
    ("features", VECTORS, {"patch_size": 256, "patch_size_level0": 256}, 256),  # TRIDENT
    ("feats", VECTORS, {}, 512),
]
ROUND_TRIPS = [  # as other pipelines write them; attributes that the exported file must have
    (GRID * 512, {"patch_size_level0": 512}, {}, None, {"patch_size_level0": 512}),
    (GRID * 512 + 77, {}, {}, 0.25, {"patch_size_level0": 512, "mpp": 0.25}),
    (GRID * 512 + GRID % 3 - 1, {"patch_size_level0": 512}, {}, None, {"patch_size_level0": 512}),
    (GRID * 256, {"patch_size_level0": 512, "overlap": 128}, {}, None, {"patch_size_level0": 512, "overlap": 128}),
    (GRID * 256.0, {}, STAMP, 0.2527, {"patch_size_level0": 1013, "mpp": 0.2527}),
]
CASES = {  # of shared/cases/features: positions, base_px, start of the warning
    "coords_jitter": (68, 512, ""),
    "stamp_real": (160, 256, "its coordinates are in um"),
    "stamp_um_frac": (68, 58, "its coordinates are in um"),
    "zero_tail": (
        68,
        512,
        "3 of 71 tiles were dropped, since they have only zeros as features: tile 68, tile 69, tile 70",
    ),
}
REFUSED_CASES = {
    "step_too_small": "its tiles are 512 px apart, not 256 px as its attribute patch_size_level0 states",
    "coords_nan": r"tile 3 has coordinates \(nan, nan\)",
    "tiny_feats": "100% of its values are 8.9e-13 to 3.9e-09, which float16 stores as 0",
}


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


def test_warnings_are_of_the_slide_whether_it_is_inspected_imported_or_current(tmp_path):
    record = SlideRecord("a", write_h5(tmp_path / "a.h5", MANY, GRID * 256.0, of_file=STAMP))
    fields = [inspect_features(record), *(import_slide(record, tmp_path, "stamp") for _ in range(2))]
    assert len({each["warnings"] for each in fields}) == 1 and "in um" in fields[0]["warnings"]
    assert {each["tiles"] for each in fields} == {len(GRID)}


@pytest.mark.parametrize(("coords", "attributes", "of_file", "mpp", "exported"), ROUND_TRIPS)
def test_an_exported_store_is_imported_unchanged(tmp_path, coords, attributes, of_file, mpp, exported):
    path = write_h5(tmp_path / "a.h5", MANY, coords, of_file=of_file, **attributes)
    import_slide(SlideRecord("a", path, mpp), tmp_path, "x")
    one = read_store(tmp_path / "a.zarr")
    export_store(tmp_path / "a.zarr", tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as file:
        assert set(file) == {"features", "coords"} and file["coords"].dtype == np.int64
        exported |= {"slide_id": "a", "name": "a"}
        assert {key: file["coords"].attrs[key] for key in exported} == exported
    import_slide(SlideRecord("b", tmp_path / "b.h5"), tmp_path, "x")
    two = read_store(tmp_path / "b.zarr")
    for name in ("features", "coords", "grid"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert [two.attributes[key] for key in ("base_px", "mpp")] == [one.attributes[key] for key in ("base_px", "mpp")]
    assert np.array_equal(one.grid, GRID)


def test_an_own_store_is_exported_with_its_attributes(tmp_path):
    write_store(tmp_path / "a.zarr", VECTORS, COORDS, COORDS // 512, {"slide_id": "a", "base_px": 512, "mpp": None})
    export_store(tmp_path / "a.zarr", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        attributes = dict(file["coords"].attrs)
    assert len(attributes.pop("sha256")) == 64
    assert attributes == {"patch_size_level0": 512, "base_px": 512, "slide_id": "a", "name": "a"}


def test_a_store_in_um_is_exported_only_once_the_mpp_is_known(tmp_path):
    path = write_h5(tmp_path / "a.h5", MANY, GRID * 256.0, "feats", of_file=STAMP)
    import_slide(SlideRecord("a", path), tmp_path, "x")
    for export in (
        lambda: export_store(tmp_path / "a.zarr", tmp_path / "b.h5"),
        lambda: to_anndata(tmp_path / "a.zarr"),
    ):
        with pytest.raises(StoreError, match="in um and cannot be exported.*; give the slide's mpp in the column mpp"):
            export()
    assert not (tmp_path / "b.h5").exists()


def test_all_stores_are_exported_but_those_that_are_named(tmp_path):
    for name, tiles in (("a", VECTORS), ("c", VECTORS)):
        write_store(tmp_path / f"{name}.zarr", tiles, COORDS, COORDS // 512, {"base_px": 512})
    write_store(tmp_path / "b.zarr", VECTORS, COORDS, COORDS // 512, {"base_px": 512, "unit": "um"})
    stores = [tmp_path / f"{name}.zarr" for name in "dbac"]
    command = ["export", *map(str, stores), "--out", str(tmp_path / "h5")]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, StoreError) and [line.split(":")[0] for line in str(error).splitlines()] == [
        *map(str, stores[:2])
    ]
    assert sorted(path.name for path in (tmp_path / "h5").iterdir()) == ["a.h5", "c.h5"]
    error = CliRunner().invoke(app, [*command, str(tmp_path / "other/a.zarr")]).exception
    assert "to the same file: a; export each data set into a folder of its own" in str(error)


def test_files_that_cannot_be_trained_together_are_named_before_training(tmp_path):
    for k in range(6):
        model = "uni" if k < 5 else "ctp"
        write_h5(tmp_path / f"s{k}.h5", MANY[:, : 3 + k // 4] + k, GRID * 512, of_file={"model": model})
    rows = [f"s{k},p{k},{'ab'[k % 2]},s{k}.h5" for k in range(6)]
    (sheet := tmp_path / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows]) + "\n")
    dataset = {"slides": str(sheet), "root": str(tmp_path), "classes": ["a", "b"]}
    settings = {"datasets": {"d": dataset}, "encoder": {"name": "imported", "id": "uni"}, "folds": {"count": 3}}
    found = check_config(read_settings(Config, settings), progress=False).problems
    (error,) = (str(problem) for problem in found if problem.level == "error")
    assert "d: features differ in their number of values per tile: 3 in 4 slides, 4 in s4, s5;" in error
    (warning,) = (str(problem) for problem in found if "made by different models" in problem.message)
    assert "uni in 5 slides, ctp in s5" in warning
    records = [SlideRecord(f"s{k}", tmp_path / f"s{k}.h5") for k in range(6)]
    for _ in range(2):  # the stores are new, then current
        imported = import_slides(records, tmp_path, "uni", 60)
        assert [record.values for record in imported] == [3] * 4 + [4] * 2
        assert [record.extractor for record in imported] == ["uni"] * 5 + ["ctp"]
    write_records(tmp_path / "batch.csv", imported)
    result = CliRunner().invoke(app, ["collect", str(tmp_path / "batch.csv"), "--out", str(tmp_path / "d/slides.csv")])
    assert isinstance(result.exception, BagError) and str(result.exception) == error
    assert not (tmp_path / "d/slides.csv").exists()


def test_files_that_cannot_be_imported_are_refused_alike(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04")
    for work in (inspect_features, lambda record: import_slide(record, tmp_path, "x")):
        with raises_slide_error("unreadable", "a file of PyTorch"):
            work(SlideRecord("a", tmp_path / "a.pt"))


@pytest.mark.shared
def test_a_real_bag_keeps_its_coordinates(shared, tmp_path):
    path = shared / "mil_bags/TCGA-AD-6964-01Z-00-DX1.h5"
    fields = import_slide(SlideRecord("a", path), tmp_path, "ctp")
    assert (fields["tiles"], fields["warnings"]) == (777, "")
    store = read_store(tmp_path / "a.zarr")
    with h5py.File(path) as file:
        assert np.array_equal(store.coords, file["coords"])
        assert np.abs(store.features - file["feats"][:]).max() < 1e-2
    assert store.attributes["base_px"] == 512 and (store.grid * 512 == store.coords).all()


@pytest.mark.shared
@pytest.mark.parametrize("name", CASES)
def test_a_case_is_imported_with_its_grid(shared, tmp_path, name):
    path, (tiles, base_px, warning) = shared / f"cases/features/{name}.h5", CASES[name]
    assert import_slide(SlideRecord("a", path), tmp_path, "x")["tiles"] == tiles
    store = read_store(tmp_path / "a.zarr")
    with h5py.File(path) as file:
        step = file.attrs.get("tile_size_um", 512)
        assert np.array_equal(store.grid, np.round(file["coords"][:tiles] / step))
    assert store.attributes["base_px"] == base_px and store.attributes.get("warnings", "").startswith(warning)
    assert bool(warning) == ("warnings" in store.attributes)


@pytest.mark.shared
def test_a_case_in_um_is_exported_in_pixels(shared, tmp_path):
    import_slide(SlideRecord("a", shared / "cases/features/stamp_real.h5", 0.2527), tmp_path, "x")
    export_store(tmp_path / "a.zarr", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["coords"].attrs["patch_size_level0"] == 1013
        assert np.unique(file["coords"][:, 0]).tolist()[:6] == [0, 1013, 2026, 3039, 4056, 5069]


@pytest.mark.shared
@pytest.mark.parametrize("name", REFUSED_CASES)
def test_a_case_that_cannot_be_imported_is_named(shared, name):
    with raises_slide_error("unreadable", REFUSED_CASES[name]):
        inspect_features(SlideRecord("a", shared / f"cases/features/{name}.h5"))


def test_a_slides_process_need_not_import_what_reads_and_writes_features():
    imported = "run_in_subprocess(eval, \"{'h5py', 'zarr'} & set(__import__('sys').modules)\", timeout=60)"
    code = f"from roformermil.features.hdf5 import run_in_subprocess; print(sorted({imported}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "['h5py', 'zarr']\n", result.stderr
