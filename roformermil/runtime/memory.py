"""How much memory a process that reads a slide may take: its part of the job's; and which errors say that memory ran out."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

LEAST = 500 * 10**6  # bytes. Slides in tiles took 40 MB; masks of the largest ones take more
WITH_TORCH = 4000  # MB that a process with an encoder or a model takes itself
CGROUPS = Path("/sys/fs/cgroup")
# how OpenCV, OpenSlide and the libraries under it, PyTorch, CUDA, cuBLAS, cuDNN and Linux say so, without a class of its own
NO_MEMORY = re.compile(
    "insufficient memory|out of memory|not enough memory|(cannot|can't|failed to|could not) allocate|bad_alloc"
    "|STATUS_ALLOC_FAILED|ALLOCATION_FAILED",
    re.IGNORECASE,
)


class Shares(NamedTuple):
    """Bytes that a process which reads a slide may take: beside others, and alone."""

    part: int
    alone: int


_shares: Shares | None = None
_is_alone = False


def share_memory(megabytes: int = 0, readers: int = 0, own: int = 500) -> Shares:
    """Divide a job's memory, without the `own` MB of the process that starts readers, among `readers` at once.

    By default the memory of this machine, or of its container or scheduler's job, and one reader per CPU core.
    """
    global _shares
    memory, readers = megabytes * 10**6 or machine_memory(), readers or len(os.sched_getaffinity(0))
    left = memory - own * 10**6
    _shares = Shares(max(LEAST, left // readers), max(LEAST, left))
    return _shares


def reader_memory() -> int:
    """Bytes that a process started now may take to read a slide."""
    shares = _shares or share_memory()
    return shares.alone if _is_alone else shares.part


@contextmanager
def one_reader() -> Iterator[None]:
    """Give the memory of all readers to the only one that reads meanwhile."""
    global _is_alone
    _is_alone = True
    try:
        yield
    finally:
        _is_alone = False


def machine_memory() -> int:
    """Bytes of memory that this process may use."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    folder = CGROUPS / own_group()
    for file in (parent / "memory.max" for parent in (folder, *folder.parents)):
        with suppress(OSError, ValueError):  # absent, or "max"
            limits.append(int(file.read_text()))
    return min(limits)


def is_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on a CPU or a GPU."""
    return isinstance(error, MemoryError) or bool(NO_MEMORY.search(str(error)))


def own_group() -> str:
    """The control group (version 2) that this process is in."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")


def writable_memory() -> int:
    """Bytes of this process's private writable memory, as RLIMIT_DATA counts them."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
