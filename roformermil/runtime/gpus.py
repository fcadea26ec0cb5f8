"""Which GPU a process uses where a machine has several (one job a GPU, none shared), in which precision, and repeatably."""

import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from roformermil.runtime.locks import try_lock

if TYPE_CHECKING:
    import torch

POLL_SECONDS = 1.0
QUERY_SECONDS = 60.0  # nvidia-smi hangs where a GPU has failed
VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_held: list[FileLock] = []  # a lock is released when its object is collected
log = logging.getLogger(__name__)


def claim_gpu(folder: Path | None = None) -> str | None:
    """Reserve one of several visible GPUs for this process; wait while other jobs use them all.

    Returns its UUID, None where there is no choice: no GPU, or one, as a scheduler assigns it. Call it before CUDA is
    initialised: it narrows CUDA_VISIBLE_DEVICES. `snakemake --resources gpu=N` lets N jobs run at once.
    folder: where the locks are, by default the machine's temporary folder.
    """
    os.environ.setdefault(ORDER, "PCI_BUS_ID")  # nvidia-smi's and Slurm's numbers; by default CUDA's fastest GPU is 0
    names = _visible_gpus()
    if len(names) < 2:
        return None
    folder = folder or Path(tempfile.gettempdir())
    # 0666: jobs of other users of this machine take turns too
    locks = {name: FileLock(folder / f"roformermil-gpu-{name}.lock", mode=0o666) for name in names}
    waiting = False
    while True:
        for name, lock in locks.items():
            if try_lock(lock):
                _held.append(lock)
                os.environ[VISIBLE] = name
                return name
        if not waiting:
            log.warning("all %d GPUs are in use by other jobs: waiting", len(names))
            waiting = True
        time.sleep(POLL_SECONDS)


def _visible_gpus() -> list[str]:
    """The GPUs this process may use, by UUID where known, so that jobs that number them differently agree."""
    uuids, _ = _list_gpus()
    if VISIBLE not in os.environ:
        return uuids
    visible = [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    numbers = {str(k): uuid for k, uuid in enumerate(uuids)} if os.environ.get(ORDER) == "PCI_BUS_ID" else {}
    return [numbers.get(name, name) for name in visible]


def _list_gpus() -> tuple[list[str], str]:
    """The UUIDs of this machine's GPUs in the order of their PCI addresses, and what went wrong where they cannot be listed."""
    if not shutil.which("nvidia-smi"):
        return [], ""
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=QUERY_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    said = " ".join((done.stdout + done.stderr).split())
    if done.returncode:
        return [], "" if "No devices were found" in said else said or f"exit status {done.returncode}"
    return re.findall(r"^(?:GPU|MIG)-\S+", done.stdout, re.MULTILINE), ""


def best_device() -> "torch.device":
    """The GPU if there is one, else the CPU, with a warning where a GPU was to be expected."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    _warn_of_unused_gpu()
    return torch.device("cpu")


@cache
def _warn_of_unused_gpu() -> None:
    """Say once that this machine has a GPU, or a broken driver, and that the CPU is used."""
    import torch

    uuids, problem = _list_gpus()
    if problem:
        log.warning("nvidia-smi failed (%s): if this machine has a GPU, repair its driver; using the CPU", problem)
    elif uuids and os.environ.get(VISIBLE, uuids[0]) not in ("", "-1"):
        remedy = "install a PyTorch for its CUDA version" if torch.version.cuda is None else "is its driver too old?"
        log.warning("PyTorch %s cannot use the GPU of this machine (%s): using the CPU", torch.__version__, remedy)


def repeat_exactly() -> None:
    """Have PyTorch compute the same numbers each time on the same machine, and fail where it cannot. Call it before CUDA's first
    matrix product.

    A warning instead of an error would be no safer choice: FlashAttention then keeps its backward pass that does not repeat.
    """
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats its sums only with a fixed workspace
    # as use_deterministic_algorithms(True), which would also import the compiler
    torch.set_deterministic_debug_mode("error")
    # or each new tensor would be filled first, for code that reads before it writes
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def resolve_precision(precision: str, device: "torch.device", on_gpu: str = "bf16") -> "torch.dtype":
    """The number type for a setting `precision`: `fp32`, `bf16`, `fp16`, or `auto`, which is fp32 on a CPU and `on_gpu` on a
    GPU (fp32 where that is bf16 and the GPU lacks it)."""
    import torch

    if precision == "auto":
        precision = on_gpu if device.type == "cuda" else "fp32"
        if precision == "bf16" and not torch.cuda.is_bf16_supported():
            precision = "fp32"
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def autocast(device: "torch.device", dtype: "torch.dtype") -> "torch.autocast":
    """Mixed precision; a context without effect for float32."""
    import torch

    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)
