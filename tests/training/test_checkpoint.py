"""A fold that is interrupted and started again gives the numbers of one that was not."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
import zarr

from roformermil.bags.folds import write_folds
from roformermil.config.base import to_json
from roformermil.errors import TerminatedError
from roformermil.models.inference import load_model
from roformermil.runtime import stage_versions
from roformermil.runtime.files import HOST, remove_abandoned
from roformermil.runtime.locks import exclusive
from roformermil.runtime.termination import _requested
from roformermil.training import Fit, TrainingJob, checkpoint, fold, train_fold
from roformermil.training.checkpoint import FILE_NAME, Checkpoint, job_fingerprint
from tests.factories import assert_same_numbers, read_rows
from tests.terminating import terminate, terminate_while_waiting


def train_command(job, folds, out):
    options = {"--dataset": job.dataset, "--folds": folds, "--fold": 1, "--features": job.stores, "--out": out}
    options |= {"--classes": "a,b", "--threads": 1, "--model": to_json(job.model), "--training": to_json(job.training)}
    return [sys.executable, "-m", "roformermil", "train", *(str(x) for option in options.items() for x in option)]


@pytest.mark.slow
def test_a_fold_killed_in_epoch_3_gives_the_same_numbers(job, tmp_path):
    made = job(epochs=40, patience=40, max_tiles=4, learning_rate=1e-3, scheduler_patience=1)
    write_folds(tmp_path / "folds.csv", made.rows)
    process = subprocess.Popen(train_command(made, tmp_path / "folds.csv", tmp_path / "killed"), stderr=subprocess.PIPE)
    state = tmp_path / "killed" / FILE_NAME
    while process.poll() is None:
        if state.exists() and len(torch.load(state, weights_only=True)["fit"]["history"]) >= 3:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "killed/model.safetensors").exists()
    for name in ("killed", "uninterrupted"):
        command = train_command(made, tmp_path / "folds.csv", tmp_path / name)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("resuming after epoch" in done.stderr) == (name == "killed")
    assert_same_numbers(tmp_path / "killed", tmp_path / "uninterrupted")
    assert not state.exists()


@pytest.mark.slow
def test_after_sigterm_the_epoch_in_hand_is_finished_and_the_retry_continues_after_it(job, tmp_path):
    made = job(epochs=300, patience=300, max_tiles=4, learning_rate=1e-3)
    write_folds(tmp_path / "folds.csv", made.rows)
    state = tmp_path / "ended" / FILE_NAME
    terminate(train_command(made, tmp_path / "folds.csv", tmp_path / "ended"), state.exists)
    epochs = len(torch.load(state, weights_only=True)["fit"]["history"])
    assert 0 < epochs < 300 and not (tmp_path / "ended/model.safetensors").exists()
    for name in ("ended", "whole"):
        command = train_command(made, tmp_path / "folds.csv", tmp_path / name)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert (f"resuming after epoch {epochs - 1}" in done.stderr) == (name == "ended")
    assert_same_numbers(tmp_path / "ended", tmp_path / "whole")


@pytest.fixture
def interrupted(job, tmp_path):
    """A job that stopped after two epochs, and its folder."""
    fit = Fit(made := job(epochs=4, patience=4))
    for epoch in range(2):
        fit.epoch(epoch)
    Checkpoint(fit, tmp_path / "out").save()
    return made, tmp_path / "out"


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_interrupted_fold_continues_with_random_numbers_schedule_and_best_epoch(job, tmp_path, precision):
    """The best epoch is before the interruption, the learning rate falls before and after it."""
    settings = {"epochs": 12, "patience": 5, "learning_rate": 0.03, "scheduler_patience": 0, "scheduler_factor": 0.6}
    settings["normalize"] = "none"
    made = job(dropout=0.4, max_tiles=4, precision=precision, **settings)
    train_fold(made, tmp_path / "whole", progress=False)
    history = read_rows(tmp_path / "whole/history.csv")
    best = int(load_model(tmp_path / "whole/model.safetensors").metadata["best_epoch"])
    rates = [float(row["learning_rate"]) for row in history]
    assert rates[0] > rates[best + 3] > rates[-1] and best + 3 < len(history) < 12
    fit = Fit(made)
    for epoch in range(best + 3):
        fit.epoch(epoch)
    Checkpoint(fit, tmp_path / "interrupted").save()
    torch.rand(3)  # whatever the next process draws
    train_fold(made, tmp_path / "interrupted", progress=False)
    assert_same_numbers(tmp_path / "interrupted", tmp_path / "whole")


def test_after_the_last_epoch_its_state_is_on_disk(job, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(fold, "write_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_fold(job(epochs=2), tmp_path, progress=False)
    saved = torch.load(tmp_path / FILE_NAME, weights_only=True)["fit"]
    assert [row["epoch"] for row in saved["history"]] == [0, 1]


def test_after_sigterm_in_the_last_epoch_the_predictions_are_left_to_the_retry(job, tmp_path, monkeypatch):
    def epoch(fit, number, run=Fit.epoch):
        run(fit, number)
        if number == 1:
            _requested.set()

    monkeypatch.setattr(Fit, "epoch", epoch)
    try:
        with pytest.raises(TerminatedError):
            train_fold(job(epochs=2), tmp_path / "out", progress=False)
    finally:
        _requested.clear()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [FILE_NAME]


@pytest.mark.slow
def test_sigterm_ends_a_training_that_waits_for_another(job, tmp_path):
    made = job(epochs=1)
    write_folds(tmp_path / "folds.csv", made.rows)
    with exclusive(tmp_path / "out"):
        terminate_while_waiting(train_command(made, tmp_path / "folds.csv", tmp_path / "out"))


def test_whatever_decides_the_numbers_is_in_the_fingerprint(job, monkeypatch):
    fit = Fit(made := job())
    of_first_row = [{"fold": 9}, {"slide_id": made.rows[1].slide_id}, {"label": "b"}, {"part": "test"}]
    of_model = {"name": "ro-dsmil", "dropout": 0.5, "rope_scale": 0.5}
    of_training = {"seed": 2, "max_tiles": 3, "weight_decay": 0.1, "precision": "bf16", "monitor": "auroc"}
    changes = [{"dataset": "other"}, {"task": ["b", "a"]}, {"rows": made.rows[::-1]}]
    changes += [{"rows": [replace(made.rows[0], **change), *made.rows[1:]]} for change in of_first_row]
    changes += [{"model": made.model.model_copy(update={name: value})} for name, value in of_model.items()]
    changes += [{"training": made.training.model_copy(update={name: value})} for name, value in of_training.items()]
    found = [job_fingerprint(fit), *(job_fingerprint(Fit(replace(made, **change))) for change in changes)]
    patches = [
        (stage_versions, "TRAIN", -1),
        (torch, "__version__", "9.9"),
        (torch, "get_num_threads", lambda: 77),
        (TrainingJob, "feature_fingerprints", lambda job: {row.slide_id: "other" for row in job.rows}),
    ]
    for patch in patches:
        with monkeypatch.context() as patched:
            patched.setattr(*patch)
            found.append(job_fingerprint(fit))
    assert len(set(found)) == 1 + len(changes) + len(patches)


def test_only_the_same_job_resumes(interrupted):
    made, out = interrupted
    assert Checkpoint(Fit(made), out).resume()
    assert Checkpoint(Fit(replace(made, training=made.training.model_copy(update={"cache_gb": 0.0}))), out).resume()
    other_training = made.training.model_copy(update={"learning_rate": 1e-5})
    other_model = made.model.model_copy(update={"dropout": 0.3})
    for change in ({"training": other_training}, {"model": other_model}, {"rows": made.rows[1:]}):
        assert not Checkpoint(Fit(replace(made, **change)), out).resume()
    zarr.open_group(made.stores / "s00.zarr", mode="r+").attrs["fingerprint"] = "another encoder's"
    assert not Checkpoint(Fit(made), out).resume()


def test_on_another_kind_of_gpu_the_fold_starts_again_and_says_why(interrupted, monkeypatch, caplog):
    made, out = interrupted
    saved = torch.load(out / FILE_NAME, weights_only=True)
    torch.save(saved | {"device": "NVIDIA A100, CUDA 12.8"}, out / FILE_NAME)
    assert not Checkpoint(Fit(made), out).resume()
    assert "was saved on NVIDIA A100, CUDA 12.8, this is cpu, which computes other numbers" in caplog.text
    monkeypatch.setattr(checkpoint, "device_name", lambda device: "NVIDIA A100, CUDA 12.8")
    assert Checkpoint(fit := Fit(made), out).resume() and len(fit.history) == 2


def test_where_epochs_are_short_not_each_is_saved_but_the_last_one_is(job, tmp_path, monkeypatch):
    saved, save = [], torch.save
    monkeypatch.setattr(
        torch, "save", lambda state, path: saved.append(len(state["fit"]["history"])) or save(state, path)
    )
    for share, expected in ((0.0, [1, 30]), (1e9, list(range(1, 31)))):
        monkeypatch.setattr(checkpoint, "SAVING_SHARE", share)
        saved.clear()
        train_fold(job("mean", epochs=30, patience=30), tmp_path / str(share), progress=False)
        assert saved == expected


@pytest.mark.parametrize("patience", [1, 9])
def test_a_fold_killed_after_its_last_epoch_only_predicts(job, tmp_path, patience):
    fit = Fit(made := job(epochs=9, patience=patience, learning_rate=0.05, precision="fp16"))
    for epoch in range(9):
        if epoch - fit.best_epoch <= patience:
            fit.epoch(epoch)
    Checkpoint(fit, tmp_path / "killed").save()
    (tmp_path / "killed" / f".checkpoint.{HOST}-{2**22 + 1}.pt").write_bytes(b"half")  # killed while saving
    remove_abandoned.cache_clear()  # as in the process that starts again
    for name in ("killed", "uninterrupted"):
        train_fold(made, tmp_path / name, progress=False)
    assert_same_numbers(tmp_path / "killed", tmp_path / "uninterrupted")
    assert len(list((tmp_path / "killed").iterdir())) == 4


def test_a_fold_with_a_damaged_checkpoint_starts_again(interrupted, tmp_path):
    made, out = interrupted
    os.truncate(out / FILE_NAME, (out / FILE_NAME).stat().st_size // 2)
    for folder in (out, tmp_path / "uninterrupted"):
        train_fold(made, folder, progress=False)
    assert_same_numbers(out, tmp_path / "uninterrupted")
