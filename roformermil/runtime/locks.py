"""Locks between processes. A lock ends with the process that holds it, however that ends."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from roformermil.runtime.files import output_error

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # errors of file systems without locks
log = logging.getLogger(__name__)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Work on `path` while no other process does; wait for one that is.

    A job may outlive the Snakemake that started it: what it still writes must not mix with a later run's results. On a
    file system without locks the work proceeds, with a warning. Raises OutputError where the lock cannot be created.
    """
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
