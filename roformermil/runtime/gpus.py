"""Which GPU a process uses where a machine has several (one job a GPU, none shared), and in which precision."""

import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from roformermil.runtime.locks import try_lock

if TYPE_CHECKING:
    import torch

POLL_SECONDS = 1.0
VISIBLE = "CUDA_VISIBLE_DEVICES"
_held: list[FileLock] = []  # a lock is released when its object is collected
log = logging.getLogger(__name__)


def claim_gpu(folder: Path | None = None) -> str | None:
    """Reserve one of several visible GPUs for this process; wait while other jobs use them all.

    Returns its UUID, None where there is no choice: no GPU, or one, as a scheduler assigns it. Call it before CUDA is
    initialised: it narrows CUDA_VISIBLE_DEVICES. `snakemake --resources gpu=N` lets N jobs run at once.
    folder: where the locks are, by default the machine's temporary folder.
    """
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
    uuids: list[str] = []
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        uuids = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    if VISIBLE not in os.environ:
        return uuids
    visible = [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    return [uuids[int(name)] if name.isdigit() and int(name) < len(uuids) else name for name in visible]


def best_device() -> "torch.device":
    """The GPU if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
