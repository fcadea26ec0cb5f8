import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.features.store import read_store, write_store
from roformermil.models.inference import load_model
from roformermil.training import Fit, train_fold
from tests.factories import assert_same_numbers, assert_same_parameters, read_rows


def accuracy_on_test_slides(rows, classes):
    tested = [row for row in rows if row["part"] == "test"]
    return np.mean([max(classes, key=lambda c: float(row[f"probability_{c}"])) == row["label"] for row in tested])


@pytest.mark.parametrize("name", ["abmil", "ro-abmil", "dsmil", "ro-dsmil"])
def test_a_fold_learns_and_writes_its_files(job, tmp_path, name):
    train_fold(job(name), tmp_path / "out", progress=False)
    predictions, history = read_rows(tmp_path / "out/predictions.csv"), read_rows(tmp_path / "out/history.csv")
    assert list(predictions[0]) == ["slide_id", "patient_id", "label", "part", "probability_a", "probability_b"]
    slides = {(row["slide_id"], row["label"], row["part"]) for row in predictions}
    assert slides == {(row.slide_id, row.label, row.part) for row in job().rows}
    assert all(abs(float(row["probability_a"]) + float(row["probability_b"]) - 1) < 1e-12 for row in predictions)
    assert accuracy_on_test_slides(predictions, "ab") >= 0.8
    assert float(history[-1]["train_loss"]) < float(history[0]["train_loss"])
    modes = {path.stat().st_mode for path in (tmp_path / "out").iterdir()}
    assert len(modes) == 1  # the user's umask decides for all files


def test_the_model_file_alone_gives_the_predictions(job, tmp_path):
    train_fold(made := job(epochs=1), tmp_path / "out", False)  # later, probabilities are 0 or 1 even with dropout
    model = load_model(tmp_path / "out/model.safetensors")
    assert (model.classes, model.metadata["dataset"], model.metadata["fold"]) == (["a", "b"], "d", "1")
    for row in read_rows(tmp_path / "out/predictions.csv"):
        store = read_store(made.stores / f"{row['slide_id']}.zarr")
        probabilities = model.predict(store.features, store.grid).probabilities
        assert probabilities.tolist() == pytest.approx([float(row[f"probability_{c}"]) for c in "ab"], abs=1e-6)


@pytest.mark.parametrize("name", ["ro-abmil", "dsmil"])
def test_three_classes_are_learned(make_stores, job, tmp_path, name):
    slides = [Slide(f"t{k:02d}", f"p{k:02d}", "abc"[k % 3], Path("x.svs"), None) for k in range(18)]
    make_stores({s.slide_id: 6 for s in slides}, shift={s.slide_id: 2.0 * "abc".index(s.label) for s in slides})
    rows = [row for row in make_folds(slides, Folds(count=3), "abc") if row.fold == 0]
    train_fold(replace(job(name, epochs=15, patience=15), rows=rows, classes=["a", "b", "c"]), tmp_path / "out", False)
    assert accuracy_on_test_slides(read_rows(tmp_path / "out/predictions.csv"), "abc") >= 0.8


@pytest.mark.parametrize("name", ["ro-abmil", "ro-dsmil"])
def test_a_fold_trained_again_gives_the_same_numbers_and_others_with_another_seed(job, tmp_path, name):
    folders = [tmp_path / name for name in ("first", "again", "other seed")]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        torch.rand(len(folder.name))  # whatever ran before
        train_fold(job(name, epochs=3, seed=seed), folder, progress=False)
    assert_same_numbers(*folders[:2])
    assert read_rows(folders[0] / "predictions.csv") != read_rows(folders[2] / "predictions.csv")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_and_can_be_resumed(job, tmp_path, precision):
    train_fold(job(precision=precision), tmp_path, progress=False)
    history = read_rows(tmp_path / "history.csv")
    assert float(history[-1]["train_loss"]) < 0.8 * float(history[0]["train_loss"])
    other = Fit(job(precision=precision))
    other.load_state(Fit(job(precision=precision)).state())
    assert other.scaler.is_enabled() == (precision == "fp16")


@pytest.mark.parametrize("monitor", ["loss", "auroc", "accuracy"])
def test_training_stops_and_the_best_epoch_is_saved(job, tmp_path, monitor):
    train_fold(made := job(epochs=40, patience=3, learning_rate=0.02, monitor=monitor), tmp_path, progress=False)
    history = read_rows(tmp_path / "history.csv")
    best = int(np.argmax([float(row[f"validation_{monitor}"]) * (-1 if monitor == "loss" else 1) for row in history]))
    assert len(history) == best + 4 < 40
    assert load_model(tmp_path / "model.safetensors").metadata["best_epoch"] == str(best)
    fit, saved = Fit(made), load_file(tmp_path / "model.safetensors")
    for epoch in range(best + 1):
        fit.epoch(epoch)
    assert all(torch.equal(value, saved[name]) for name, value in fit.model.state_dict().items())


def test_the_learning_rate_falls_on_a_plateau(job, tmp_path):
    train_fold(job(epochs=12, learning_rate=0.1, scheduler_patience=1, scheduler_factor=0.5), tmp_path, progress=False)
    rates = [float(row["learning_rate"]) for row in read_rows(tmp_path / "history.csv")]
    assert rates[0] == 0.1 > rates[-1]


def test_the_settings_reach_model_and_optimiser(job):
    fit = Fit(job(weight_decay=0.5, checkpointing=True))
    assert fit.optimizer.param_groups[0]["weight_decay"] == 0.5 and fit.model.checkpointing


def test_an_epoch_has_one_step_per_batch_and_its_loss_is_a_mean_over_slides(job, monkeypatch):
    """12 training slides in batches of 5, the last of which has 2. The learning rate is too low to change the loss."""
    fit = Fit(job(dropout=0.0, batch_size=5, learning_rate=1e-12))
    steps, take_step = [], fit.optimizer.step
    monkeypatch.setattr(fit.optimizer, "step", lambda *args, **kwargs: steps.append(1) or take_step(*args, **kwargs))
    fit.epoch(0)
    assert len(steps) == 3
    assert fit.history[0]["train_loss"] == pytest.approx(fit._evaluate("train")[0], rel=1e-5)
    assert fit.history[0]["validation_loss"] == pytest.approx(fit._evaluate("validation")[0], rel=1e-5)


def test_test_slides_change_nothing_but_their_own_predictions(job, tmp_path):
    train_fold(made := job(epochs=3), tmp_path / "before", progress=False)
    for path in [made.stores / f"{row.slide_id}.zarr" for row in made.rows if row.part == "test"]:
        store = read_store(path)
        write_store(path, store.features[::-1] - 1, store.coords, store.grid, store.attributes)
    train_fold(made, tmp_path / "after", progress=False)
    before, after = (read_rows(tmp_path / name / "predictions.csv") for name in ("before", "after"))
    assert [old["part"] for old, new in zip(before, after, strict=True) if old != new] == ["test"] * 6
    assert_same_parameters(tmp_path / "before", tmp_path / "after")


def test_tensorboard_shows_each_epoch_if_it_is_switched_on(job, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name in ("off", "on"):
        train_fold(job(epochs=3, tensorboard=name == "on"), tmp_path / name, progress=False)
    assert not (tmp_path / "off/tensorboard").exists()
    board = EventAccumulator(str(tmp_path / "on/tensorboard"))
    board.Reload()
    losses = [float(row["validation_loss"]) for row in read_rows(tmp_path / "on/history.csv")]
    assert [event.value for event in board.Scalars("validation_loss")] == pytest.approx(losses, rel=1e-6)
    assert (tmp_path / "on/predictions.csv").read_bytes() == (tmp_path / "off/predictions.csv").read_bytes()


def test_training_needs_no_pandas():
    """The environment of the training jobs has none (envs/training.yaml)."""
    code = "import sys; sys.modules['pandas'] = None; import roformermil.training"
    subprocess.run([sys.executable, "-c", code], check=True)
