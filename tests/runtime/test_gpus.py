"""One job per GPU: real processes that claim names of GPUs. There are no devices behind the names; the locks are real."""

import os
import subprocess
import sys

import pytest
import torch

from roformermil.runtime import gpus
from roformermil.runtime.gpus import ORDER, VISIBLE, best_device, claim_gpu, resolve_precision

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

    def start(visible, path="", **variables):
        environment = {"PATH": str(path), **variables} | ({} if visible is None else {VISIBLE: visible})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        jobs.append(subprocess.Popen([sys.executable, "-c", JOB, tmp_path], env=environment, **pipes))
        return jobs[-1]

    yield start
    for job in jobs:
        job.communicate("")


def write_nvidia_smi(folder, commands):
    """The folder, with an `nvidia-smi` that runs these shell commands."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{commands}\n")
    (folder / "nvidia-smi").chmod(0o755)
    return folder


@pytest.fixture
def nvidia_smi(tmp_path_factory):
    """A folder with an `nvidia-smi` that lists two GPUs, numbers 0 and 1."""
    return write_nvidia_smi(tmp_path_factory.mktemp("bin"), "echo GPU-aaaa; echo GPU-bbbb")


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


@pytest.mark.parametrize(
    "commands",
    [
        "echo No devices were found; exit 6",
        "echo NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.; exit 9",
        "echo Failed to initialize NVML: Driver/library version mismatch; exit 18",
    ],
)
def test_what_nvidia_smi_says_when_it_fails_is_no_gpu(tmp_path, monkeypatch, commands):
    monkeypatch.setenv("PATH", str(write_nvidia_smi(tmp_path, commands)), prepend=os.pathsep)
    monkeypatch.delenv(VISIBLE, raising=False)
    assert claim_gpu(tmp_path) is None and VISIBLE not in os.environ


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine whose GPU cannot be used")
@pytest.mark.parametrize(
    ("commands", "warning"),
    [
        ("echo No devices were found; exit 6", ""),
        ("echo no driver >&2; exit 9", "nvidia-smi failed (no driver): if this machine has a GPU, repair its driver"),
        ("exit 18", "nvidia-smi failed (exit status 18)"),
        ("exec sleep 9", "timed out after 0.5 seconds"),
        ("echo GPU-aaaa", "cannot use the GPU of this machine"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_never_passed_over_in_silence(tmp_path, monkeypatch, caplog, commands, warning):
    monkeypatch.setenv("PATH", str(write_nvidia_smi(tmp_path, commands)), prepend=os.pathsep)
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setattr(gpus, "QUERY_SECONDS", 0.5)
    gpus._warn_of_unused_gpu.cache_clear()
    assert best_device() == best_device() == torch.device("cpu")
    assert [warning in message for message in caplog.messages] == ([True] if warning else [])


def test_numbers_of_gpus_are_those_of_nvidia_smi_unless_cudas_own_order_is_asked_for(start_job, nvidia_smi):
    """By default CUDA's number 0 is the fastest GPU, nvidia-smi's the first on the bus."""
    assert claimed(start_job("1,0", nvidia_smi, **{ORDER: "FASTEST_FIRST"})) == "1"
    code = f"from roformermil.runtime.gpus import claim_gpu; import os; claim_gpu(); print(os.environ['{ORDER}'])"
    without = {name: value for name, value in os.environ.items() if name != ORDER}
    done = subprocess.run([sys.executable, "-c", code], env=without, capture_output=True, text=True, check=True)
    assert done.stdout == "PCI_BUS_ID\n"


@pytest.mark.parametrize(("precision", "device", "on_gpu", "has_bf16", "expected"), PRECISIONS)
def test_auto_precision_depends_on_the_device(precision, device, on_gpu, has_bf16, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert resolve_precision(precision, torch.device(device), on_gpu) == expected
