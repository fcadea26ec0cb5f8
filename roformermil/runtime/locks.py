"""Locks between processes. A lock ends with the process that holds it, however that ends."""

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from roformermil.runtime.files import output_error

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # errors of file systems without locks
log = logging.getLogger(__name__)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Work on `path` while no other process does; wait for one that is.

    A job may outlive the Snakemake that started it: what it still writes must not mix with a later run's results. On a
    file system without locks the work proceeds, with a warning. Raises OutputError where the lock cannot be created.
    """
    # no lock by a file's existence, filelock's own resort: it would outlive a killed job of another machine
    lock = FileLock(path.with_name(f".{path.name}.lock"), fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not try_lock(lock):
            log.warning("%s: another run is writing here: waiting for it to end", path)
            lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise output_error(error, path) from error
        log.warning("%s: this file system has no locks; do not run twice into this folder at once", path)
    try:
        yield
    finally:
        lock.release()


def try_lock(lock: FileLock) -> bool:
    """Whether the lock could be taken without waiting."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
