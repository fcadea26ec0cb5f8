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
from roformermil.runtime.files import HOST
from roformermil.training import Fit, train_fold
from roformermil.training.checkpoint import FILE_NAME, Checkpoint
from tests.factories import assert_same_numbers


def train_command(job, folds, out):
    options = {"--dataset": job.dataset, "--folds": folds, "--fold": 1, "--features": job.stores, "--out": out}
    options |= {"--classes": "a,b", "--threads": 1, "--model": to_json(job.model), "--training": to_json(job.training)}
    return [sys.executable, "-m", "roformermil", "train", *(str(x) for option in options.items() for x in option)]


@pytest.mark.slow
def test_a_fold_killed_in_epoch_3_gives_the_same_numbers(job, tmp_path):
    made = job(epochs=40, patience=40, max_tiles=4, learning_rate=1e-3, scheduler_patience=1)
    write_folds(tmp_path / "folds.csv", made.rows)
    process = subprocess.Popen(train_command(made, tmp_path / "folds.csv", tmp_path / "killed"), stderr=subprocess.PIPE)
    checkpoint = tmp_path / "killed" / FILE_NAME
    while process.poll() is None:
        if checkpoint.exists() and len(torch.load(checkpoint, weights_only=True)["fit"]["history"]) >= 3:
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
    assert not checkpoint.exists()


@pytest.fixture
def interrupted(job, tmp_path):
    """A job that stopped after two epochs, and its folder."""
    fit = Fit(made := job(epochs=4, patience=4))
    for epoch in range(2):
        fit.epoch(epoch)
    Checkpoint(fit, tmp_path / "out").save()
    return made, tmp_path / "out"


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


@pytest.mark.parametrize("patience", [1, 9])
def test_a_fold_killed_after_its_last_epoch_only_predicts(job, tmp_path, patience):
    fit = Fit(made := job(epochs=9, patience=patience, learning_rate=0.05, precision="fp16"))
    for epoch in range(9):
        if epoch - fit.best_epoch <= patience:
            fit.epoch(epoch)
    Checkpoint(fit, tmp_path / "killed").save()
    (tmp_path / "killed" / f".checkpoint.{HOST}-{2**22 + 1}.pt").write_bytes(b"half")  # killed while saving
    for name in ("killed", "uninterrupted"):
        train_fold(made, tmp_path / name, progress=False)
    assert_same_numbers(tmp_path / "killed", tmp_path / "uninterrupted")
    assert len(list((tmp_path / "killed").iterdir())) == 3


def test_a_fold_with_a_damaged_checkpoint_starts_again(interrupted, tmp_path):
    made, out = interrupted
    os.truncate(out / FILE_NAME, (out / FILE_NAME).stat().st_size // 2)
    for folder in (out, tmp_path / "uninterrupted"):
        train_fold(made, folder, progress=False)
    assert_same_numbers(out, tmp_path / "uninterrupted")
