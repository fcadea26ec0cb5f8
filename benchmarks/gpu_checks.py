"""The parts of `benchmarks/gpu.py` that check what training and encoding promise."""

import importlib.util
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import traceback
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from gpu_setup import CLASSES, MODELS, WIDTH, Rows, Sizes, guarded, make_batch, make_job, training_step, with_model
from safetensors.torch import load_file

from roformermil.errors import OutOfMemoryError
from roformermil.models.build import build_model, mil_loss
from roformermil.runtime.gpus import autocast, best_device, repeat_exactly, resolve_precision
from roformermil.runtime.memory import writable_memory
from roformermil.runtime.provenance import run_metadata
from roformermil.training import Fit, TrainingJob, train_fold
from roformermil.training.checkpoint import Checkpoint

ROOT = Path(__file__).resolve().parents[1]
MEMORY_FRACTION = 0.05  # of the GPU's memory, that does not suffice
CPU_MEMORY = 10**9  # bytes, the same without a GPU
FP32_ERROR, HALF_ERROR = 1e-3, 0.05  # of a probability, at most
RESUME_AFTER = 2  # epochs
PACKAGES = (
    "zarr",
    "numcodecs",
    "imagecodecs",
    "tifffile",
    "openslide-python",
    "openslide-bin",
    "pydantic",
    "timm",
    "triton",
)


def versions(sizes: Sizes, folder: Path) -> Rows:
    """The GPU, its driver, and the libraries."""
    device = best_device()
    for name, value in run_metadata(device).items():
        yield {"what": name, "value": value}
    for name in PACKAGES:
        yield {"what": name, "value": _version(name)}
    yield {"what": "CPU cores", "value": len(os.sched_getaffinity(0))}
    yield {
        "what": "a GPU is used",
        "value": device.type == "cuda" or "no: sizes are small, and nothing is proven for one",
    }
    if device.type == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        yield {"what": "GPU memory, GB", "value": gpu.total_memory / 1e9}
        yield {"what": "compute capability", "value": f"{gpu.major}.{gpu.minor}"}
        yield {"what": "cuDNN", "value": torch.backends.cudnn.version()}
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=index,uuid,name,driver_version,pci.bus_id", "--format=csv,noheader"]
        yield {
            "what": "nvidia-smi",
            "value": subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip(),
        }
    yield {"what": "system", "value": platform.platform()}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def sync(sizes: Sizes, folder: Path) -> Rows:
    """Whether a step of each model makes the host wait for the GPU: then it is an error of CUDA's debug mode."""
    device = best_device()
    repeat_exactly()
    dtype = resolve_precision("auto", device)
    for name, model in MODELS.items():
        yield guarded({"model": name}, partial(_step_without_waiting, model | sizes.model, sizes, dtype))


def _step_without_waiting(model: dict[str, Any], sizes: Sizes, dtype: torch.dtype) -> dict[str, Any]:
    device = best_device()
    run = training_step(model, make_batch(sizes.bags, device), dtype)
    pinned = make_batch(sizes.bags, torch.device("cpu"), pinned=device.type == "cuda")
    run()  # the first step loads and chooses kernels
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        pinned.to(device)
        run()
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    return {"without waiting": True if device.type == "cuda" else "not checked without a GPU"}


def repeat(sizes: Sizes, folder: Path) -> Rows:
    """Whether a fold trained twice, and one killed and resumed, give the same bytes."""
    job = make_job(folder / "stores", sizes.bags, {"name": "mean"})
    jobs = {name: with_model(job, model | sizes.model) for name, model in MODELS.items()}
    killed = get_context("spawn").Process(target=train_until_killed, args=(jobs, folder))
    killed.start()
    killed.join()
    for name, job in jobs.items():
        yield guarded({"model": name}, partial(_repeat, job, folder / name))


def train_until_killed(jobs: dict[str, TrainingJob], folder: Path) -> None:
    """Train some epochs of each model, as `train_fold` does, and be killed."""
    for name, job in jobs.items():
        try:
            (out := folder / name / "resumed").mkdir(parents=True)
            fit = Fit(job)
            for epoch in range(RESUME_AFTER):
                fit.epoch(epoch)
            Checkpoint(fit, out).save()
        except Exception:  # `_repeat` says that there is nothing to resume
            traceback.print_exc()
    os.kill(os.getpid(), signal.SIGKILL)


def _repeat(job: TrainingJob, folder: Path) -> dict[str, Any]:
    resumes = Checkpoint(Fit(job), folder / "resumed").resume()
    for name in ("first", "second", "resumed"):
        train_fold(job, folder / name, progress=False)
    equal = {name: same_results(folder / "first", folder / name) for name in ("second", "resumed")}
    return {"again": equal["second"], "killed and resumed": resumes and equal["resumed"]}


def same_results(one: Path, other: Path) -> bool:
    """Whether parameters and predictions of two trainings are the same to the byte."""
    models = [load_file(folder / "model.safetensors") for folder in (one, other)]
    predictions = [(folder / "predictions.csv").read_bytes() for folder in (one, other)]
    return predictions[0] == predictions[1] and all(torch.equal(models[0][key], models[1][key]) for key in models[0])


def precision(sizes: Sizes, folder: Path) -> Rows:
    """How far probabilities and gradients are from fp32 on the CPU."""
    repeat_exactly()
    for name, model in MODELS.items():
        exact = outputs(model | sizes.model, sizes, torch.device("cpu"), torch.float32)
        for dtype, limit in ((torch.float32, FP32_ERROR), (torch.bfloat16, HALF_ERROR), (torch.float16, HALF_ERROR)):
            row = {"model": name, "precision": str(dtype).removeprefix("torch.")}
            yield guarded(row, partial(_errors, model | sizes.model, sizes, dtype, exact, limit))


def _errors(
    model: dict[str, Any], sizes: Sizes, dtype: torch.dtype, exact: tuple[torch.Tensor, torch.Tensor], limit: float
) -> dict[str, Any]:
    probabilities, gradient = outputs(model, sizes, best_device(), dtype)
    error = (probabilities - exact[0]).abs().max().item()
    relative = ((gradient - exact[1]).norm() / exact[1].norm()).item()
    return {
        "probabilities": error,
        "gradient": relative,
        f"probabilities within {FP32_ERROR:g}, in half {HALF_ERROR:g}": error < limit,
    }


def outputs(
    model: dict[str, Any], sizes: Sizes, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """A model's probabilities (B, C) and the gradient of its parameters, without dropout, on the CPU in float64."""
    torch.manual_seed(0)
    net = build_model({**model, "dropout": 0.0}, WIDTH, len(CLASSES)).to(device)
    batch = make_batch(sizes.bags, device)
    with autocast(device, dtype):
        out = net(batch.features, batch.grid, batch.lengths)
        loss = mil_loss(out, batch.targets, batch.lengths)
    scale = 2.0**10 if dtype == torch.float16 else 1.0  # as a scaler does: small gradients would be zero
    (scale * loss).backward()
    gradients = [p.grad.flatten().cpu().double() / scale for p in net.parameters() if p.grad is not None]
    return out.logits.detach().cpu().double().softmax(dim=-1), torch.cat(gradients)


def memory(sizes: Sizes, folder: Path) -> Rows:
    """Whether slides too large for the memory are named, and smaller ones train after that in the same process."""
    small = make_job(folder / "small", sizes.bags, {"name": "ro-abmil", **sizes.model})
    large = make_job(folder / "large", sizes.too_large, {"name": "ro-abmil"})
    if best_device().type == "cuda":
        torch.cuda.set_per_process_memory_fraction(MEMORY_FRACTION)
    else:
        limit = writable_memory() + CPU_MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    row = {"what": f"slides of {', '.join(map(str, sizes.too_large))} tiles with too little memory are named"}
    yield guarded(row, partial(_out_of_memory, large, folder / "out"))
    row = {"what": "smaller slides train after that"}
    yield guarded(row, partial(_trains, small, folder / "after"))


def _trains(job: TrainingJob, out: Path) -> dict[str, Any]:
    train_fold(job, out, progress=False)
    return {"true": True}


def _out_of_memory(job: TrainingJob, out: Path) -> dict[str, Any]:
    try:
        train_fold(job, out, progress=False)
    except OutOfMemoryError as error:
        return {"true": "s0" in str(error), "message": str(error)}
    return {"true": False, "message": "there was enough"}


def tests(sizes: Sizes, folder: Path) -> Rows:
    """The package's tests that compute on a GPU where there is one."""
    apart = (
        ["-n", str(min(8, os.cpu_count() or 1))] if importlib.util.find_spec("xdist") and len(sizes.tests) > 1 else []
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header", *apart, *sizes.tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr)
    lines = done.stdout.splitlines()
    yield {"what": lines[-1] if lines else "pytest printed nothing", "passed": done.returncode == 0}
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            yield {"what": line, "passed": False}
