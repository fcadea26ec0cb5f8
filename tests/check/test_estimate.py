from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.bags.folds import FoldRow
from roformermil.check import estimate
from roformermil.check.dataset import CheckedDataset
from roformermil.check.estimate import check_disk, estimate_run
from roformermil.check.inspection import InspectedSlide
from roformermil.check.measure import Speeds, Step
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Config
from roformermil.config.base import read_settings

DATASET = {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}
SPEEDS = Speeds({"aperio": 0.01}, 0.1, 1024, "cpu", {"abmil": Step("step", 500, 10**6, 0.5)})


def config(tmp_path, **changes):
    settings = {"datasets": {"d": DATASET}, "results": str(tmp_path), "models": ["abmil"], "heatmaps": {"models": []}}
    return read_settings(Config, settings | {"training": {"epochs": 10, "epoch_steps": 1}} | changes)


def dataset(tiles=1000, folds=True):
    """Three slides, each tested once."""
    slides = [InspectedSlide(SlideRecord(f"s{k}", Path("x"), tiles=tiles, seconds=8.0), "aperio") for k in range(3)]
    parts = ("train", "validation", "test")
    rows = [FoldRow(f, f"s{k}", f"p{k}", "a", parts[(k + f) % 3]) for f in range(3) for k in range(3)]
    return CheckedDataset([], slides, rows if folds else [])


@pytest.fixture
def two_cores(monkeypatch):
    for module in (estimate, estimate.measure_speeds.__globals__):
        target = module if isinstance(module, dict) else vars(module)
        monkeypatch.setitem(target, "cpu_cores", lambda: 2)


def amounts(monkeypatch, config, datasets, speeds=SPEEDS):
    monkeypatch.setattr(estimate, "measure_speeds", lambda *_, **options: speeds)
    return {what: (amount, details) for what, amount, details in estimate_run(config, datasets).rows}


def test_time_and_disk_follow_tiles_and_speeds(two_cores, monkeypatch, tmp_path):
    found = amounts(monkeypatch, config(tmp_path), [dataset()])
    assert found["tissue, tiles"] == ("12 s", "3 slides")  # 3 x 8 s on two cores
    assert found["encoding"][0] == "5.2 min"  # 3,000 tiles x (0.1 + 0.01 / 2) s
    assert "resnet50 encodes 10 tiles/s" in found["encoding"][1] and "100 tiles/s (aperio)" in found["encoding"][1]
    # 3 folds x 10 epochs x (a step and a third of one, of twice the tiles measured) on two cores
    assert found["training"] == ("at most 20 s", "3 trainings of 10 epochs; most stop earlier")
    short = config(tmp_path, training={"epochs": 10, "epoch_steps": 8})  # 8 passes over the one slide in training
    assert amounts(monkeypatch, short, [dataset()])["training"][0] == "at most 2.1 min"
    assert found["disk"][0] == "31 MB" and found["disk"][1].endswith(f" free at {tmp_path}")
    assert found["disk"][1].startswith("features 6.1 MB, tissue 600 kB, models 24 MB; ")


def test_a_gpu_waits_for_reading_or_reading_for_it(two_cores, monkeypatch, tmp_path):
    fast = replace(SPEEDS, encoding=0.001, device="cuda")
    assert amounts(monkeypatch, config(tmp_path), [dataset()], fast)["encoding"][0] == "15 s"  # 0.01 / 2 s per tile
    slow = replace(SPEEDS, encoding=0.02, device="cuda")
    assert amounts(monkeypatch, config(tmp_path), [dataset()], slow)["encoding"][0] == "60 s"


def test_attention_takes_the_square_of_the_tiles_and_fewer_tiles_less(two_cores, monkeypatch, tmp_path):
    step = Step("step", 500, 10**6, 0.5)
    roformer = replace(SPEEDS, steps={"ro-abmil": step})
    seconds = {}
    for tiles in (1000, 100_000):
        settings = config(tmp_path, models=["ro-abmil"], training={"epochs": 1, "epoch_steps": 1})
        row = amounts(monkeypatch, settings, [dataset(tiles)], roformer)["training"][0]
        seconds[tiles] = float(row.split()[2]) * {"s": 1, "min": 60, "h": 3600}[row.split()[3]]
    assert 2000 < seconds[100_000] / seconds[1000] < 10_000
    few = config(tmp_path, training={"epochs": 10, "epoch_steps": 1, "max_tiles": 500})
    assert amounts(monkeypatch, few, [dataset()])["training"][0] == "at most 12 s"  # validation has all tiles


def test_slides_of_two_data_sets_may_have_the_same_ids(two_cores, monkeypatch, tmp_path):
    both = amounts(monkeypatch, config(tmp_path), [dataset(1000), dataset(3000)])
    assert both["training"][0] == "at most 80 s"  # 20 s, and three times that
    assert both["encoding"][1].startswith("12,000 tiles")


def test_without_folds_or_measurements_only_the_rest_is_told(two_cores, monkeypatch, tmp_path):
    untrained = amounts(monkeypatch, config(tmp_path), [dataset(folds=False)])
    assert list(untrained) == ["tissue, tiles", "encoding", "disk"]
    plain = estimate_run(config(tmp_path), [dataset()], measure=False)
    assert [row[:2] for row in plain.rows] == [("tissue, tiles", "12 s"), ("encoding", "not measured")]
    assert plain.disk == 0 and "3,000 tiles" in str(plain)
    lost = [InspectedSlide(SlideRecord("s", Path("x"), status="no_mpp"))]
    assert estimate_run(config(tmp_path), [CheckedDataset([], lost, [])]) is None


def test_of_imported_features_no_tissue_is_found_and_nothing_encoded(two_cores, monkeypatch, tmp_path):
    imported = config(tmp_path, encoder={"name": "imported", "id": "uni"}, models=["abmil"])
    found = amounts(monkeypatch, imported, [dataset()])
    assert list(found) == ["imported features", "training", "disk"] and "tissue" not in found["disk"][1]


def test_results_that_do_not_fit_on_the_disk_are_a_warning(monkeypatch, tmp_path):
    amounts(monkeypatch, config(tmp_path), [dataset()])
    small, large = (estimate_run(config(tmp_path / "new" / "results"), [dataset(tiles)]) for tiles in (10, 10**12))
    assert not list(check_disk(config(tmp_path), small))
    (problem,) = check_disk(config(tmp_path), large)
    assert problem.level == "warning" and f"results need about 6,144 TB, but {tmp_path} has" in problem.message
