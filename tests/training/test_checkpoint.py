"""A fold killed in epoch 3 and started again ends with the numbers of one that was left alone."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from roformermil.bags.folds import write_folds
from roformermil.config.base import to_json
from roformermil.features.store import read_store, write_store
from roformermil.runtime.files import HOST
from roformermil.training import Fit, train_fold
from roformermil.training.checkpoint import NAME, Checkpoint
from tests.training.conftest import read


def command(job, folds, out):
    return [
        sys.executable, "-m", "roformermil", "train", "--dataset", job.dataset, "--folds", str(folds), "--fold", "1",
        "--features", str(job.stores), "--classes", ",".join(job.classes), "--model", to_json(job.model),
        "--training", to_json(job.training), "--threads", "1", "--out", str(out),
    ]  # fmt: skip


def same_numbers(one, two):
    assert (one / "predictions.csv").read_bytes() == (two / "predictions.csv").read_bytes()
    first, second = ([row | {"seconds": ""} for row in read(folder / "history.csv")] for folder in (one, two))
    assert first == second
    a, b = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
def test_a_fold_killed_in_epoch_3_ends_with_the_same_numbers(job, tmp_path):
    asked = job(epochs=40, patience=40, max_tiles=4, learning_rate=1e-3, scheduler_patience=1)
    write_folds(tmp_path / "folds.csv", asked.rows)
    process = subprocess.Popen(command(asked, tmp_path / "folds.csv", tmp_path / "killed"), stderr=subprocess.PIPE)
    kept = tmp_path / "killed" / NAME
    while process.poll() is None:
        if kept.exists() and len(torch.load(kept, weights_only=True)["fit"]["history"]) >= 3:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed/model.safetensors").exists()
    for name in ("killed", "alone"):
        done = subprocess.run(
            command(asked, tmp_path / "folds.csv", tmp_path / name), capture_output=True, text=True, check=True
        )
        assert ("going on after epoch" in done.stderr) == (name == "killed")
    same_numbers(tmp_path / "killed", tmp_path / "alone")
    assert not kept.exists()


@pytest.fixture
def interrupted(job, tmp_path):
    """A job that stopped after two epochs, and its folder."""
    asked = job(epochs=4, patience=4)
    fit = Fit(asked)
    for epoch in range(2):
        fit.epoch(epoch)
    Checkpoint(fit, tmp_path / "out").save()
    return asked, tmp_path / "out"


def test_only_the_same_job_goes_on(interrupted):
    asked, out = interrupted
    assert Checkpoint(Fit(asked), out).resume()
    assert Checkpoint(Fit(replace(asked, training=asked.training.model_copy(update={"cache_gb": 0.0}))), out).resume()
    for other in (
        replace(asked, training=asked.training.model_copy(update={"learning_rate": 1e-5})),
        replace(asked, model=asked.model.model_copy(update={"dropout": 0.3})),
        replace(asked, rows=asked.rows[1:]),
    ):
        assert not Checkpoint(Fit(other), out).resume()
    path = asked.stores / "s00.zarr"
    store = read_store(path)
    write_store(path, store.features, store.coords, store.grid, {"fingerprint": "another encoder's"})
    assert not Checkpoint(Fit(asked), out).resume()


@pytest.mark.parametrize("patience", [1, 9])
def test_a_fold_killed_after_its_last_epoch_only_predicts(job, tmp_path, patience):
    asked = job(epochs=9, patience=patience, learning_rate=0.05, precision="fp16")
    fit = Fit(asked)
    for epoch in range(9):
        if epoch - fit.best_epoch > patience:
            break
        fit.epoch(epoch)
    Checkpoint(fit, tmp_path / "killed").save()
    (tmp_path / "killed" / f".{NAME.removesuffix('.pt')}.{HOST}-{2**22 + 1}.pt").write_bytes(
        b"half"
    )  # killed while it was written
    for name in ("killed", "alone"):
        train_fold(asked, tmp_path / name, progress=False)
    same_numbers(tmp_path / "killed", tmp_path / "alone")
    assert len(list((tmp_path / "killed").iterdir())) == 3


def test_a_damaged_state_costs_the_epochs_not_the_fold(interrupted, tmp_path):
    asked, out = interrupted
    whole = (out / NAME).read_bytes()
    (out / NAME).write_bytes(whole[: len(whole) // 2])
    train_fold(asked, out, progress=False)
    train_fold(asked, tmp_path / "alone", progress=False)
    same_numbers(out, tmp_path / "alone")
