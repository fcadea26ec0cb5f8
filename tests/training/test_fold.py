import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from safetensors.numpy import load_file

from roformermil import __version__
from roformermil.bags.augmentation import SHUFFLE_REPEATS, shuffle_positions
from roformermil.bags.folds import make_folds, rows_fingerprint
from roformermil.bags.prefetch import prefetch_batches
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds, Model, Training
from roformermil.errors import BagError
from roformermil.features.store import read_store, write_store
from roformermil.models.inference import load_model
from roformermil.runtime.files import file_sha256
from roformermil.runtime.gpus import best_device
from roformermil.training import Fit, fold_model, train_fold
from roformermil.training import fit as fit_module
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


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_the_model_file_alone_gives_the_predictions(job, tmp_path, precision):
    train_fold(
        made := job(epochs=1, precision=precision), tmp_path / "out", False
    )  # later, probabilities are 0 or 1 even with dropout
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
    train_fold(replace(job(name, epochs=15, patience=15), rows=rows, task=["a", "b", "c"]), tmp_path / "out", False)
    assert accuracy_on_test_slides(read_rows(tmp_path / "out/predictions.csv"), "abc") >= 0.8


@pytest.mark.parametrize("name", ["ro-abmil", "ro-dsmil"])
def test_a_fold_trained_again_gives_the_same_numbers_and_others_with_another_seed(job, tmp_path, name):
    folders = [tmp_path / name for name in ("first", "again", "other seed")]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        torch.rand(len(folder.name))  # whatever ran before
        train_fold(job(name, epochs=3, seed=seed), folder, progress=False)
    assert_same_numbers(*folders[:2])
    assert read_rows(folders[0] / "predictions.csv") != read_rows(folders[2] / "predictions.csv")


def test_training_refuses_what_does_not_repeat_on_a_gpu(job, monkeypatch):
    """After a warning alone, FlashAttention's backward pass would not repeat."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.set_deterministic_debug_mode("default")
    Fit(job())
    assert torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_and_can_be_resumed(job, tmp_path, precision):
    train_fold(job(precision=precision), tmp_path, progress=False)
    history = read_rows(tmp_path / "history.csv")
    assert float(history[-1]["train_loss"]) < 0.8 * float(history[0]["train_loss"])
    other = Fit(job(precision=precision))
    other.load_state(Fit(job(precision=precision)).state())
    assert other.scaler.is_enabled() == (precision == "fp16")


def test_what_changes_no_number_is_set_too(job, monkeypatch):
    """All other settings are seen in the numbers (test_protocol.py)."""
    fit, readers, gradients = Fit(job(checkpointing=True, cache_gb=0.5, readers=3, epoch_steps=1)), [], []
    assert fit.model.checkpointing and fit.data._cache_bytes == 5e8
    prefetch, run = prefetch_batches, fit.run
    for module in (fit_module, fold_model):
        monkeypatch.setattr(module, "prefetch_batches", lambda *args: readers.append(args[2]) or prefetch(*args))
    monkeypatch.setattr(fit, "run", lambda batch, *weights: gradients.append(torch.is_grad_enabled()) or run(batch))
    fit.epoch(0)
    assert readers == [3, 3] and gradients == [True] * 4 + [False] * 2


@pytest.mark.parametrize("mode", ["flip", "rotate"])
def test_augmentation_changes_no_bit_of_a_model_without_position(job, mode):
    """And every bit of one that uses it. Tiles are drawn and dropped out, from generators of their own."""

    def parameters(name, mode):
        fit = Fit(job(name, epochs=2, tile_fraction=0.5, augment_grid=mode))
        fit.epoch(0), fit.epoch(1)
        return torch.cat([p.detach().flatten() for p in fit.model.parameters()]), fit.history[-1]["validation_loss"]

    for name, same in (("abmil", True), ("mean", True), ("ro-abmil", False), ("transmil", False)):
        (still, loss), (moved, other) = parameters(name, "none"), parameters(name, mode)
        assert (torch.equal(still, moved), loss == other) == (same, same), name


def test_only_models_that_use_position_predict_with_positions_shuffled(job, tmp_path):
    columns = ["slide_id", "patient_id", "label", "repeat", "probability_a", "probability_b"]
    for name in ("ro-abmil", "abmil"):
        train_fold(job(name, epochs=1), tmp_path / name, progress=False)
    assert (tmp_path / "abmil/shuffled.csv").read_text() == ",".join(columns) + "\n"
    shuffled = read_rows(tmp_path / "ro-abmil/shuffled.csv")
    tested = [row for row in read_rows(tmp_path / "ro-abmil/predictions.csv") if row["part"] == "test"]
    assert list(shuffled[0]) == columns
    assert [row["slide_id"] for row in shuffled] == [row["slide_id"] for row in tested] * SHUFFLE_REPEATS
    model, store = load_model(tmp_path / "ro-abmil/model.safetensors"), job().stores
    for number, row in enumerate(shuffled):
        features, grid = (getattr(read_store(store / f"{row['slide_id']}.zarr"), name) for name in ("features", "grid"))
        assert int(row["repeat"]) == number // len(tested)
        moved = shuffle_positions(torch.from_numpy(grid), row["slide_id"], int(row["repeat"]))
        assert model.predict(features, moved.numpy()).probabilities[0] == pytest.approx(
            float(row["probability_a"]), abs=1e-6
        )
    assert [row["probability_a"] for row in shuffled[: len(tested)]] != [row["probability_a"] for row in tested]


def test_variants_of_a_model_start_from_the_same_weights_and_slide_order(job, monkeypatch):
    made, order, run = job(epochs=1), [], Fit.run
    variant = made.model.model_copy(update={"id": "no-position", "position": "none", "dropout": 0.0})
    monkeypatch.setattr(Fit, "run", lambda fit, batch, *weights: order[-1].append(batch.slide_ids) or run(fit, batch))
    states = []
    for model in (made.model, variant):
        order.append([])
        fit = Fit(replace(made, model=model))
        states.append({name: value.clone() for name, value in fit.model.state_dict().items()})
        fit.epoch(0)
    assert order[0] == order[1] and states[0].keys() - states[1].keys() == {"blocks.0.attention.rope.directions"}
    start = "blocks.0.attention.qkv.bias"  # with rotary encoding, those of queries and keys are set (rope_locality)
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items() if name != start)
    assert torch.equal(states[0][start][64:], states[1][start][64:])


def test_seeds_differ_by_data_set_fold_and_seed(job):
    made = job()
    seeded = made.training.model_copy(update={"seed": 2})
    changes = ({}, {"dataset": "other"}, {"fold": 2}, {"training": seeded})
    fits = [Fit(replace(made, **change)) for change in changes]
    assert len({fit.model.project.weight.sum().item() for fit in fits}) == 4
    assert len({fit.generator.initial_seed() for fit in fits}) == 4


def test_the_model_file_tells_how_it_was_made(job, tmp_path):
    made = job(epochs=2, learning_rate=1e-4, seed=5)
    for row in made.rows:
        zarr.open_group(made.stores / f"{row.slide_id}.zarr", mode="r+").attrs["fingerprint"] = f"of {row.slide_id}"
    train_fold(made, tmp_path, progress=False)
    expected = {"dataset": "d", "fold": "1", "in_dim": "16", "version": __version__}
    expected |= {"rows": rows_fingerprint(made.rows), "predictions": file_sha256(tmp_path / "predictions.csv")}
    expected |= {"seed": "5", "shuffled": file_sha256(tmp_path / "shuffled.csv")}
    tensors = load_file(tmp_path / "model.safetensors")
    trained = [x for name, x in tensors.items() if not name.endswith((".directions", ".mean", ".scale"))]
    expected["parameters"] = str(sum(x.size for x in trained))
    metadata = load_model(tmp_path / "model.safetensors").metadata
    assert {name: metadata[name] for name in expected} == expected
    assert json.loads(metadata["classes"]) == ["a", "b"]
    assert json.loads(metadata["features"]) == {row.slide_id: f"of {row.slide_id}" for row in made.rows}
    assert Model.model_validate_json(metadata["model"]) == made.model
    assert Training.model_validate_json(metadata["training"]) == made.training
    assert json.loads(metadata["run"])["device"] == str(best_device())


@pytest.mark.parametrize("monitor", ["loss", "auroc", "accuracy"])
def test_numbers_that_are_not_finite_end_the_training(job, monitor):
    with pytest.raises(BagError, match=r"ro-abmil: the train loss is not finite; lower training\.learning_rate"):
        Fit(job(learning_rate=1e30, monitor=monitor)).epoch(0)
    fit = Fit(job(monitor=monitor, batch_size=99))
    fit.optimizer.step = lambda: fit.model.project.weight.data.fill_(float("nan"))  # after the loss of the only step
    with pytest.raises(BagError, match=r"ro-abmil: the validation loss is not finite; lower training\.learning_rate"):
        fit.epoch(0)


def test_validation_slides_of_one_class_have_no_auroc(job):
    made = job()
    made = replace(made, rows=[row for row in made.rows if (row.part, row.label) != ("validation", "a")])
    (fit := Fit(made)).epoch(0)
    assert np.isnan(fit.history[0]["validation_auroc"]) and fit.best_epoch == 0
    by_auroc = made.training.model_copy(update={"monitor": "auroc"})
    with pytest.raises(
        BagError, match=r"auroc is undefined, since a class has no .* slide; set training\.monitor to loss"
    ):
        Fit(replace(made, training=by_auroc)).epoch(0)


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
