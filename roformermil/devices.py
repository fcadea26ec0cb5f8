"""Which GPU a process uses, where a machine has several: one job a GPU, none shared."""

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

PAUSE = 1.0  # seconds between two looks for a free GPU
VISIBLE = "CUDA_VISIBLE_DEVICES"
held: list[IO] = []  # open for as long as the process lives: the lock goes with it, however it ends
log = logging.getLogger(__name__)


def claim_gpu(folder: Path | None = None) -> str | None:
    """Take one of several visible GPUs for this process alone; wait while other jobs have them all.

    Returns its name, None where there is no choice: no GPU, or one, as a scheduler assigns it. To be called before CUDA
    is initialised: it narrows CUDA_VISIBLE_DEVICES. Snakemake's `--resources gpu=N` lets N jobs come here at once.
    """
    names = _visible()
    if len(names) < 2:
        return None
    said, folder = False, folder or Path(tempfile.gettempdir())
    while True:
        for name in names:
            if _lock(folder / f"roformermil-gpu-{name}.lock"):
                os.environ[VISIBLE] = name
                return name
        if not said:
            log.warning("all of %d GPUs are in use by other jobs: waiting", len(names))
            said = True
        time.sleep(PAUSE)


def _visible() -> list[str]:
    """Names of the GPUs, as CUDA_VISIBLE_DEVICES takes them."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()


def _lock(path: Path) -> bool:
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    held.append(file)
    return True
