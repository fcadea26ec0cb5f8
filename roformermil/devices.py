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
    """Names of the GPUs that this process may use: their UUIDs where they are known, so that jobs that count devices
    differently mean the same."""
    known: list[str] = []
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        known = subprocess.run(query, capture_output=True, text=True, check=False).stdout.split()
    if VISIBLE not in os.environ:
        return known
    given = [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip()]
    return [known[int(name)] if name.isdigit() and int(name) < len(known) else name for name in given]


def _lock(path: Path) -> bool:
    if not path.exists():
        path.touch()
        path.chmod(0o666)  # whatever the umask: other users of this machine take turns too
    file = open(path, encoding="utf-8")  # noqa: SIM115 - held; a lock needs no right to write
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    held.append(file)
    return True
