"""What a model costs: time and memory of a training step and of inference, against the tiles of a slide."""

import math
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from roformermil.config import Model, Overhead
from roformermil.models.build import build_model, mil_loss, parameter_count
from roformermil.runtime.gpus import autocast, resolve_precision
from roformermil.runtime.records import write_rows
from roformermil.training.memory import is_memory

SAMPLE_MS = 100  # between two looks at the GPU's utilisation


def measure_model(model: Model, tiles: int, in_dim: int, settings: Overhead, out: Path) -> None:
    """Time a model on one slide of random features and write a row a repetition to `out`.

    Columns: model, tiles, parameters, device, threads, what (`inference` or `step`: forward, backward and Adam), repeat,
    seconds, memory_gb (peak above the features and the model), gpu_utilisation (percent, none on a CPU), status (`ok` or
    `out_of_memory`). To be run in a process of its own: a CPU's peak memory is the process's.
    """
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = resolve_precision("auto", device)
    net = build_model(model, in_dim, 2).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    features = torch.randn(tiles, in_dim, dtype=torch.float16).to(device)
    side = math.isqrt(tiles - 1) + 1
    grid = torch.stack((torch.arange(tiles) % side, torch.arange(tiles) // side), dim=1).to(device)
    label = torch.tensor([1], device=device)

    def inference() -> None:
        net.eval()
        with torch.no_grad(), autocast(device, dtype):
            net(features, grid, [tiles])

    def step() -> None:
        net.train()
        with autocast(device, dtype):
            loss = mil_loss(net(features, grid, [tiles]), label, [tiles])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    common = {
        "model": model.id, "tiles": tiles, "parameters": parameter_count(net),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU", "threads": torch.get_num_threads(),
    }  # fmt: skip
    rows = [
        common | row for what, run in (("inference", inference), ("step", step)) for row in _timed(what, run, settings)
    ]
    write_rows(out, rows)


def _timed(what: str, run: Callable[[], None], settings: Overhead) -> Iterator[dict[str, Any]]:
    """A row a timed run; the first run, which loads and allocates, is timed only where it alone takes the time allowed."""
    before = reset_peak_memory()
    rows: list[dict[str, Any]] = []
    start = time.perf_counter()
    try:
        with gpu_utilisation() as busy:
            while len(rows) < settings.repeats + 1:
                began = time.perf_counter()
                run()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                rows.append({"what": what, "repeat": len(rows), "seconds": time.perf_counter() - began})
                if len(rows) >= 2 and time.perf_counter() - start > settings.seconds:
                    break
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        yield {"what": what, "repeat": 0, "seconds": math.nan, "memory_gb": math.nan, "gpu_utilisation": math.nan,
               "status": "out_of_memory"}  # fmt: skip
        return
    figures = {"memory_gb": peak_memory() - before, "gpu_utilisation": busy(), "status": "ok"}
    yield from (row | figures for row in (rows[1:] if len(rows) > 2 else rows))


def reset_peak_memory() -> float:
    """Start a new peak; returns the memory in use now, in GB. (On macOS a process's peak cannot be started anew.)"""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e9
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM becomes VmRSS
    return peak_memory()


def peak_memory() -> float:
    """Peak memory in GB so far: allocated on the GPU since the last reset, or resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage would count what the parent had when this process began
        return (
            next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            * 1024
            / 1e9
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on macOS


@contextmanager
def gpu_utilisation() -> Iterator[Callable[[], float]]:
    """Yields a function that gives the mean GPU utilisation inside, as the driver reports it; NaN without a GPU."""
    if not (torch.cuda.is_available() and shutil.which("nvidia-smi")):
        yield lambda: math.nan
        return
    command = [
        "nvidia-smi",
        "--query-gpu=utilization.gpu",
        "--format=csv,noheader,nounits",
        f"-lms={SAMPLE_MS}",
        f"-i=GPU-{torch.cuda.get_device_properties(0).uuid}",  # whatever CUDA_VISIBLE_DEVICES made of the numbers
    ]
    sampler = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    samples: list[float] = []

    def finish() -> float:
        if sampler.poll() is None:
            sampler.terminate()
            lines = sampler.communicate()[0].split()
            samples.extend(float(line) for line in lines if line.isdigit())  # "[N/A]" where the driver does not say
        return float(np.mean(samples)) if samples else math.nan

    try:
        yield finish
    finally:
        finish()
