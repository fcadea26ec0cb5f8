"""The whole path, run by the real Snakemake: slides in, the table out, with five files among them that are no slides."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.bags.folds import make_folds
from roformermil.config import Folds, Model, Training, load_config
from roformermil.demo import CLASSES
from roformermil.features.store import read_store
from roformermil.metrics import auroc
from roformermil.sheet import read_sheet
from roformermil.status import changed_files, read_status
from roformermil.training import Job, train_fold
from tests.workflow.conftest import BROKEN
from tests.workflow.running import snakemake


def test_every_bad_slide_is_a_row_and_the_others_finish(done):
    rows = {row.slide_id: row for row in read_status(done / "results/demo/slides.csv")}
    assert len(rows) == 29
    assert {name: rows[name].status for name in BROKEN} == BROKEN
    assert all(rows[name].reason for name in BROKEN)
    good = [row for row in rows.values() if row.slide_id not in BROKEN]
    assert all(row.status == "ok" and row.tiles > 5 and row.mpp == 0.5 for row in good)
    assert len(list((done / "results/demo/features/resnet50-random").glob("demo_*.zarr"))) == 24


def test_the_table_has_every_model_and_says_what_is_missing(done):
    text = (done / "results/summary.md").read_text()
    assert "- demo: 3 folds; 24 of 29 slides, 5 missing (1 empty, 1 empty_file, 1 read_failed, 2 unreadable)" in text
    assert "random encoder weights" in text
    summary = pd.read_csv(done / "results/summary.csv")
    assert list(summary.model.unique()) == ["abmil", "ro-abmil"]
    assert (summary.folds == 3).all()


def test_ro_abmil_tells_the_demos_classes_apart(done):
    summary = pd.read_csv(done / "results/summary.csv").set_index(["model", "metric"])
    assert summary.loc[("ro-abmil", "auroc"), "mean"] >= 0.9


def test_what_should_be_there_is_there(done):
    for name in ("log", "benchmark"):
        assert any((done / "results" / f"{name}s/demo").rglob("segment_0.*")), name
    assert (done / "results/demo/tissue/demo_00.jpg").exists()
    assert (done / "results/demo/tissue/demo_00.geojson").exists()
    model = done / "results/demo/resnet50-random/ro-abmil"
    assert len(list((model / "heatmaps").glob("demo_*.jpg"))) == 24
    assert (model / "model/model.json").exists() and not (model / "heatmaps/cut.jpg").exists()
    fold = model / "fold_0"
    assert {p.name for p in fold.iterdir()} == {"model.safetensors", "history.csv", "predictions.csv"}


def test_a_second_run_does_nothing(done):
    result = snakemake(done, done / "config.yaml")
    assert "Nothing to be done" in result.stderr + result.stdout


@pytest.fixture(scope="module")
def learn(done, tmp_path_factory):
    """learn(labels, leak) trains three folds of the demo under other labels; returns the mean AUROC on test slides."""
    config = load_config(done / "config.yaml")
    slides = read_sheet(done / "slides/slides.csv", done / "slides")[:24]
    training = Training(**{**config.training.model_dump(), "epochs": 60, "patience": 60, "scheduler_patience": 60})

    def train(labels: dict[str, str], leak: bool = False) -> float:
        relabelled = [replace(slide, label=labels[slide.patient_id]) for slide in slides]
        rows, areas = make_folds(relabelled, Folds(count=3), CLASSES), []
        for fold in range(3):
            here = [row for row in rows if row.fold == fold]
            if leak:
                here += [replace(row, part="train") for row in here if row.part != "train"]
            out = tmp_path_factory.mktemp("fold")
            job = Job("demo", fold, here, done / "results/demo/features/resnet50-random", list(CLASSES),
                      Model(name="ro-dsmil", hidden_dim=64), training)  # fmt: skip
            train_fold(job, out, progress=False)
            table = pd.read_csv(out / "predictions.csv")
            test = table[table.part == "test"]
            p = test[[f"probability_{name}" for name in CLASSES]].to_numpy()
            areas.append(auroc(test.label.map(CLASSES.index).to_numpy(), p))
        return float(np.mean(areas))

    return train


PATIENTS = [f"patient_{k:02d}" for k in range(12)]


def shuffled(seed: int) -> dict[str, str]:
    order = np.random.default_rng(seed).permutation(12)
    return {patient: CLASSES[k % 2] for patient, k in zip(PATIENTS, order, strict=True)}


def test_shuffled_labels_teach_nothing(learn):
    assert 0.25 < np.mean([learn(shuffled(seed)) for seed in range(2)]) < 0.7


@pytest.mark.slow
def test_the_same_training_would_show_a_leak(learn):
    """With real labels it learns; with shuffled ones too, as soon as test slides are among the training slides."""
    assert learn({patient: CLASSES[k % 2] for k, patient in enumerate(PATIENTS)}) >= 0.9
    assert learn(shuffled(0), leak=True) >= 0.85


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tils": {"size": 128}}, "tils: unknown key; did you mean `tiles`?"),
        (
            {"datasets": {"demo": {"slides": "no.csv", "root": ".", "classes": ["a", "b"]}}},
            "no.csv: there is no such slide sheet",
        ),
        ({"models": ["abmil"], "ablation": {}}, "nothing to compare: `models` needs a ro-abmil or ro-dsmil"),
    ],
)
def test_mistakes_are_named_before_the_first_job(demo, tmp_path, change, expected):
    config = yaml.safe_load((demo / "config.yaml").read_text()) | change
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(tmp_path, tmp_path / "config.yaml", "all", "ablation", "-n")
    assert result.returncode != 0
    assert expected in result.stderr + result.stdout


def test_too_many_bad_slides_stop_the_data_set(done, tmp_path):
    """By hand, with the command line of the rule `collect`."""
    tables = sorted((done / "results/demo/features/resnet50-random").glob("batch_*.csv"))
    command = [sys.executable, "-m", "roformermil", "collect", *tables, "--out", tmp_path / "demo/slides.csv"]
    result = subprocess.run([*command, "--max-failed-fraction", "0.05"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "demo: 24 of 29 slides, 5 missing" in result.stderr
    assert "cut: unreadable in segment" in result.stderr
    assert "raise max_failed_fraction" in result.stderr
    assert not (tmp_path / "demo/slides.csv").exists()


def test_exported_features_come_back_without_the_slides(done, tmp_path):
    """`export`, then a run on the .h5 files alone: the same bags, nothing segmented or encoded."""
    stores = sorted((done / "results/demo/features/resnet50-random").glob("demo_*.zarr"))
    command = [sys.executable, "-m", "roformermil", "export", *stores, "--out", tmp_path / "h5"]
    subprocess.run(command, check=True, capture_output=True)
    labels = {row.slide_id: row for row in read_sheet(done / "slides/slides.csv", done / "slides")}
    lines = [f"{s.stem},{labels[s.stem].patient_id},{labels[s.stem].label},{s.stem}.h5" for s in stores]
    (tmp_path / "slides.csv").write_text("\n".join(["slide_id,patient_id,label,path", *lines]) + "\n")
    config = yaml.safe_load((done / "config.yaml").read_text())
    config["datasets"]["demo"] |= {"slides": str(tmp_path / "slides.csv"), "root": str(tmp_path / "h5")}
    config["encoder"] = {"name": "imported", "label": "theirs"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(tmp_path, tmp_path / "config.yaml", "features")
    assert result.returncode == 0, result.stderr[-5000:]
    rows = read_status(tmp_path / "results/demo/slides.csv")
    assert {(row.status, row.reader) for row in rows} == {("ok", "h5")}
    assert not (tmp_path / "results/demo/tissue").exists()
    (touched := Path(rows[0].path)).touch()
    assert changed_files([touched.as_posix()], tmp_path / "results/demo/features/theirs/batch_0.csv") == set()
    for store in stores:
        one, two = read_store(store), read_store(tmp_path / f"results/demo/features/theirs/{store.name}")
        for name in ("features", "coords", "grid"):
            assert np.array_equal(getattr(one, name), getattr(two, name))
