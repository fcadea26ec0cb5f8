"""Memory that really runs out, in a process that is given too little."""

import re
import subprocess
import sys

import pytest
import torch

from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import write_folds
from roformermil.config.base import to_json
from roformermil.errors import OutOfMemoryError
from roformermil.training.memory import memory_errors_named

LIMITED = """
import resource, sys, torch
from pathlib import Path
from roformermil import config, errors, read_folds
from roformermil.training import Fit, TrainingJob

folds, stores, training, extra = sys.argv[1:]
torch.set_num_threads(1)
torch.randn(2000, 2000) @ torch.randn(2000, 2000)  # what is loaded on first use
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(extra) * 2**20, resource.RLIM_INFINITY))
model = config.Model(name="ro-abmil", hidden_dim=256, attention_dim=64, num_heads=4)
training = config.Training.model_validate_json(training)
job = TrainingJob("d", 1, read_folds(Path(folds), 1), Path(stores), ["a", "b"], model, training)
try:
    Fit(job).epoch(0)  # trains on the large slide, evaluates others
    print("trained")
except errors.OutOfMemoryError as error:
    print(error.status, error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
@pytest.mark.parametrize(("remedy", "fits"), [({}, False), ({"max_tiles": 500}, True)])
def test_the_error_names_the_slide_its_tiles_and_a_remedy_that_helps(make_stores, job, tmp_path, remedy, fits):
    made = job(epochs=1, patience=1, readers=1, **remedy)
    large = next(row.slide_id for row in made.rows if row.part == "train")
    make_stores({large: 20_000})
    write_folds(tmp_path / "folds.csv", [row for row in made.rows if row.part == "train" or row.slide_id != large])
    command = [sys.executable, "-c", LIMITED, tmp_path / "folds.csv", made.stores, to_json(made.training), "850"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    remedies = ".*training.checkpointing.*training.max_tiles.*training.batch_size"
    failure = rf"out_of_memory out of memory with slides {large} \(20000 tiles\), {remedies}"
    assert done.returncode == 0 and re.match("trained\n$" if fits else failure, done.stdout), done.stderr


@pytest.fixture
def batch(job):
    made = job()
    return pack([BagDataset(made.rows, made.stores, made.classes)[0]])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB"
        ),
        torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: out of memory"),  # also of pinned memory
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
    ],
)
def test_memory_that_ran_out_on_a_gpu_or_cpu_is_recognised_whatever_library_says_so(batch, error):
    with pytest.raises(OutOfMemoryError, match=f"{batch.slide_ids[0]} .*max_tiles"), memory_errors_named(batch, True):
        raise error


def test_other_errors_are_not_changed(batch):
    with pytest.raises(RuntimeError, match="shapes"), memory_errors_named(batch, training=True):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(OutOfMemoryError, match="evaluated whole"), memory_errors_named(batch, training=False):
        raise MemoryError
