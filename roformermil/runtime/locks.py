"""Locks between processes. A lock ends with the process that holds it, however that ends.

Some network file systems have no locks, or locks that other hosts do not see. Results are safe there too, since files are written
aside and renamed (`files.atomic_path`): the last rename decides. What is lost is work, so who works on a path is noted beside it.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from roformermil.runtime.files import HOST, output_error, process_exists

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # errors of file systems without locks
SAFE = "each file is complete, the last one written is kept; run only once into this folder at a time"
log = logging.getLogger(__name__)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Work on `path` while no other process does; wait for one that is.

    A job may outlive the Snakemake that started it: what it still writes must not mix with a later run's results. Where the
    file system has no locks, or another host's job has not removed its note, the work proceeds with a warning. Raises
    OutputError where the lock cannot be created.
    """
    note = path.with_name(f".{path.name}.by.lock")
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        taken = try_lock(lock)
        if isinstance(lock, SoftFileLock):  # what filelock turns to without flock: it would outlive a killed job
            lock.release()
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if not taken:
            log.warning("%s: another run is writing here: waiting for it to end", path)
            lock.acquire()
        if other := _other_worker(note):
            log.warning("%s: %s worked here too and did not finish, or still does; %s", path, other, SAFE)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise output_error(error, path) from error
        who = f", and {other} works here or was killed" if (other := _other_worker(note)) else ""
        log.warning("%s: this file system has no locks%s; %s", path, who, SAFE)
    try:
        with suppress(OSError):  # it only warns others, and a full disk is reported where results are written
            note.write_text(f"{HOST} {os.getpid()}")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _other_worker(note: Path) -> str:
    """Who noted that they work here, unless they are of this host and gone: `a job on node7`; else empty."""
    try:
        host, number = note.read_text().split()
        is_gone = host == HOST and not process_exists(int(number))
    except (OSError, ValueError):  # there is no note, or a half-written one
        return ""
    return "" if is_gone else f"a job on {host}"


def try_lock(lock: FileLock) -> bool:
    """Whether the lock could be taken without waiting."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
