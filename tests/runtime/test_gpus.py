"""One job per GPU: real processes that claim names of GPUs. There are no devices behind the names; the locks are real."""

import os
import subprocess
import sys

import pytest
import torch

from roformermil.runtime.gpus import VISIBLE, claim_gpu, resolve_precision

JOB = """
import sys
from pathlib import Path
from roformermil.runtime.gpus import claim_gpu
print(claim_gpu(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""
PRECISIONS = [
    ("auto", "cpu", "bf16", True, torch.float32),
    ("auto", "cuda", "bf16", True, torch.bfloat16),
    ("auto", "cuda", "bf16", False, torch.float32),
    ("auto", "cuda", "fp16", False, torch.float16),
    ("bf16", "cpu", "fp16", False, torch.bfloat16),
]


@pytest.fixture
def start_job(tmp_path):
    """Starts a process that claims one of the visible GPUs, prints its name and keeps it: start_job("0,1", path="")."""
    jobs = []

    def start(visible, path=""):
        environment = {"PATH": str(path)} | ({} if visible is None else {VISIBLE: visible})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        jobs.append(subprocess.Popen([sys.executable, "-c", JOB, tmp_path], env=environment, **pipes))
        return jobs[-1]

    yield start
    for job in jobs:
        job.communicate("")


@pytest.fixture
def nvidia_smi(tmp_path_factory):
    """A folder with an `nvidia-smi` that lists two GPUs, numbers 0 and 1."""
    script = tmp_path_factory.mktemp("bin") / "nvidia-smi"
    script.write_text("#!/bin/sh\necho GPU-aaaa\necho GPU-bbbb\n")
    script.chmod(0o755)
    return script.parent


def claimed(job):
    return job.stdout.readline().strip()


def test_two_jobs_have_two_gpus_and_a_third_waits_for_one_of_them(start_job):
    one, two = start_job("A,B"), start_job("A,B")
    names = [claimed(job) for job in (one, two)]
    assert sorted(names) == ["A", "B"]
    third = start_job("A,B")
    two.kill()
    two.wait()
    assert claimed(third) == names[1]


@pytest.mark.parametrize("other", ["0,1", "GPU-bbbb,GPU-aaaa", None])
def test_jobs_that_number_the_gpus_differently_never_share_one(start_job, nvidia_smi, other):
    assert claimed(start_job("1,0", nvidia_smi)) == "GPU-bbbb"
    assert claimed(start_job(other, nvidia_smi)) == "GPU-aaaa"


def test_the_claimed_gpu_is_the_only_one_that_cuda_sees(tmp_path, nvidia_smi, monkeypatch):
    monkeypatch.setenv("PATH", str(nvidia_smi))
    monkeypatch.setenv(VISIBLE, "1,0")
    assert claim_gpu(tmp_path) == os.environ[VISIBLE] == "GPU-bbbb"


@pytest.mark.parametrize("names", ["", "3", "GPU-of-a-scheduler"])
def test_without_a_choice_no_gpu_is_claimed(names, tmp_path, monkeypatch):
    monkeypatch.setenv(VISIBLE, names)
    assert claim_gpu(tmp_path) is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("precision", "device", "on_gpu", "has_bf16", "expected"), PRECISIONS)
def test_auto_precision_depends_on_the_device(precision, device, on_gpu, has_bf16, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert resolve_precision(precision, torch.device(device), on_gpu) == expected
