import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model, Training
from roformermil.config.base import read_settings
from roformermil.models import build_model
from roformermil.training import Fit, TrainingJob, train_fold
from tests.training.conftest import MODEL, SLIDES, read


@pytest.mark.parametrize("name", ["abmil", "ro-abmil", "dsmil", "ro-dsmil"])
def test_a_fold_learns_and_leaves_its_files(job, tmp_path, name):
    train_fold(job(name), tmp_path / "out", progress=False)
    predictions, history = read(tmp_path / "out/predictions.csv"), read(tmp_path / "out/history.csv")
    assert [list(predictions[0])] == [["slide_id", "patient_id", "label", "part", "probability_a", "probability_b"]]
    assert sorted(row["slide_id"] for row in predictions) == [slide.slide_id for slide in SLIDES]
    assert all(abs(float(row["probability_a"]) + float(row["probability_b"]) - 1) < 1e-12 for row in predictions)
    right = [
        (row["label"] == "b") == (float(row["probability_b"]) > 0.5) for row in predictions if row["part"] == "test"
    ]
    assert np.mean(right) >= 0.8
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    modes = {(tmp_path / "out" / f).stat().st_mode for f in ("model.safetensors", "predictions.csv")}
    assert len(modes) == 1  # all files as the user's umask has them


def test_the_checkpoint_alone_gives_the_predictions(job, tmp_path):
    asked = job()
    train_fold(asked, tmp_path / "out", progress=False)
    with safe_open(tmp_path / "out/model.safetensors", "pt") as file:
        metadata = file.metadata()
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    settings = read_settings(Model, metadata["model"])
    model = build_model(settings, int(metadata["in_dim"]), len(json.loads(metadata["classes"]))).eval()
    model.load_state_dict(state)
    for row in read(tmp_path / "out/predictions.csv"):
        bag = next(r for r in asked.rows if r.slide_id == row["slide_id"])
        batch = pack([BagDataset([bag], asked.stores, asked.classes)[0]])
        with torch.no_grad():
            probability = model(batch.features, batch.grid, batch.lengths).logits.softmax(-1)[0, 1].item()
        assert probability == pytest.approx(float(row["probability_b"]), abs=1e-5)


@pytest.mark.parametrize("name", ["ro-abmil", "dsmil"])
def test_three_classes_are_no_special_case(make_stores, tmp_path, name):
    slides = [Slide(f"t{k:02d}", f"p{k:02d}", "abc"[k % 3], "x.svs", None) for k in range(18)]
    stores = make_stores(
        {s.slide_id: 6 for s in slides}, shift={s.slide_id: 2.0 * "abc".index(s.label) for s in slides}
    )
    rows = [row for row in make_folds(slides, Folds(count=3), "abc") if row.fold == 0]
    settings = Training(learning_rate=3e-3, epochs=15, patience=15)
    train_fold(
        TrainingJob("d", 0, rows, stores, ["a", "b", "c"], Model(name=name, **MODEL), settings), tmp_path / "out", False
    )
    test = [row for row in read(tmp_path / "out/predictions.csv") if row["part"] == "test"]
    right = [max("abc", key=lambda c: float(row[f"probability_{c}"])) == row["label"] for row in test]
    assert np.mean(right) >= 0.8


@pytest.mark.parametrize("name", ["ro-abmil", "ro-dsmil"])
def test_a_fold_trained_twice_gives_the_same_numbers(job, tmp_path, name):
    for k in range(2):
        torch.rand(k + 3)  # whatever ran before
        train_fold(job(name, epochs=3), tmp_path / str(k), progress=False)
    first, second = (tmp_path / str(k) for k in range(2))
    assert (first / "predictions.csv").read_bytes() == (second / "predictions.csv").read_bytes()
    one, two = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_seed_matters(job, tmp_path):
    for seed in (1, 2):
        train_fold(job(epochs=2, seed=seed), tmp_path / str(seed), progress=False)
    assert read(tmp_path / "1/predictions.csv") != read(tmp_path / "2/predictions.csv")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_and_can_be_resumed(job, tmp_path, precision):
    train_fold(job(precision=precision), tmp_path, progress=False)
    history = read(tmp_path / "history.csv")
    assert float(history[-1]["train_loss"]) < 0.8 * float(history[0]["train_loss"])
    other = Fit(job(precision=precision))
    other.load_state(Fit(job(precision=precision)).state())
    assert other.scaler.is_enabled() == (precision == "fp16")


@pytest.mark.parametrize("monitor", ["loss", "auroc", "accuracy"])
def test_the_best_epoch_is_kept_and_training_stops(job, tmp_path, monitor):
    train_fold(job(epochs=40, patience=3, learning_rate=0.02, monitor=monitor), tmp_path, progress=False)
    history = read(tmp_path / "history.csv")
    column = f"validation_{monitor}"
    figures = [float(row[column]) * (-1 if monitor == "loss" else 1) for row in history]
    best = int(np.argmax(figures))
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata()["best_epoch"] == str(best)
    assert len(history) == min(40, best + 4)


def test_the_learning_rate_falls_on_a_plateau(job, tmp_path):
    train_fold(job(epochs=12, learning_rate=0.1, scheduler_patience=1, scheduler_factor=0.5), tmp_path, progress=False)
    rates = [float(row["learning_rate"]) for row in read(tmp_path / "history.csv")]
    assert rates[0] == 0.1
    assert rates[-1] < 0.1


def test_tensorboard_shows_each_epoch_by_a_switch(job, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    asked = job()
    train_fold(asked, tmp_path / "off", progress=False)
    assert not (tmp_path / "off/tensorboard").exists()
    train_fold(replace(asked, training=asked.training.model_copy(update={"tensorboard": True})), tmp_path / "on", False)
    board = EventAccumulator(str(tmp_path / "on/tensorboard"))
    board.Reload()
    history = read(tmp_path / "on/history.csv")
    shown = [event.value for event in board.Scalars("validation_loss")]
    assert shown == pytest.approx([float(row["validation_loss"]) for row in history], rel=1e-6)
    assert (tmp_path / "on/predictions.csv").read_bytes() == (tmp_path / "off/predictions.csv").read_bytes()
