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
from roformermil.runtime.gpus import autocast, best_device, repeat_exactly, resolve_precision
from roformermil.runtime.memory import is_memory
from roformermil.runtime.records import write_rows


def measure_model(model: Model, tiles: int, in_dim: int, settings: Overhead, out: Path) -> None:
    """Time a model on one slide of random features and write a row per repetition to `out`.

    Columns: model, tiles, parameters, device, threads, what (`inference` or `step`: forward, backward and Adam),
    repeat, seconds, memory_gb (peak above features and model), gpu_utilisation (percent, empty on a CPU), status (`ok`
    or `out_of_memory`). Run it in a process of its own: a CPU's peak memory is the process's.
    """
    torch.manual_seed(0)
    repeat_exactly()  # as training does, which takes time on a GPU
    device = best_device()
    dtype = resolve_precision("auto", device)
    net = build_model(model, in_dim, 2).to(device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
    features = torch.randn(tiles, in_dim, dtype=torch.float16).to(device)
    side = math.isqrt(tiles - 1) + 1
    grid = torch.stack((torch.arange(tiles) % side, torch.arange(tiles) // side), dim=1).to(device)
    label = torch.tensor([1], device=device)

    def infer() -> None:
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

    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    shared = {"model": model.id, "tiles": tiles, "parameters": parameter_count(net), "device": name}
    shared["threads"] = torch.get_num_threads()
    timed = [*_time_runs("inference", infer, settings), *_time_runs("step", step, settings)]
    write_rows(out, [shared | row for row in timed])


def _time_runs(what: str, run: Callable[[], None], settings: Overhead) -> list[dict[str, Any]]:
    """A row per timed run. The first, which loads and allocates, counts only if time allows no more than one other."""
    seconds: list[float] = []
    before, start = reset_peak_memory(), time.perf_counter()
    try:
        with gpu_utilisation() as utilisation:
            while len(seconds) < settings.repeats + 1:
                began = time.perf_counter()
                run()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - began)
                if len(seconds) >= 2 and time.perf_counter() - start > settings.seconds:
                    break
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        failed = dict.fromkeys(("seconds", "memory_gb", "gpu_utilisation"), math.nan)
        return [{"what": what, "repeat": 0, **failed, "status": "out_of_memory"}]
    shared = {"memory_gb": peak_memory() - before, "gpu_utilisation": utilisation(), "status": "ok"}
    rows = [{"what": what, "repeat": k, "seconds": value, **shared} for k, value in enumerate(seconds)]
    return rows[1:] if len(rows) > 2 else rows


def reset_peak_memory() -> float:
    """Start a new peak; returns the memory in use now, in GB. (macOS cannot reset a process's peak.)"""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e9
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
    return peak_memory()


def peak_memory() -> float:
    """Peak memory in GB so far: allocated on the GPU since the last reset, or resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage includes the parent's memory at the time of the fork
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # bytes on macOS


@contextmanager
def gpu_utilisation() -> Iterator[Callable[[], float]]:
    """Yields a function that returns the mean GPU utilisation in the block, as the driver reports it; call it after
    the block. NaN without a GPU."""
    samples: list[float] = []
    if not (torch.cuda.is_available() and shutil.which("nvidia-smi")):
        yield lambda: math.nan
        return
    gpu = f"-i=GPU-{torch.cuda.get_device_properties(0).uuid}"  # CUDA_VISIBLE_DEVICES may renumber GPUs
    query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms=100"]  # every 100 ms
    sampler = subprocess.Popen(["nvidia-smi", *query, gpu], stdout=subprocess.PIPE, text=True)
    try:
        yield lambda: float(np.mean(samples)) if samples else math.nan
    finally:
        sampler.terminate()
        samples += [float(line) for line in sampler.communicate()[0].split() if line.isdigit()]  # "[N/A]" on some GPUs
