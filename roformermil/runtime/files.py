"""Files written completely or not at all, and fingerprints of whatever decided a result."""

import errno
import fcntl
import glob
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from roformermil.errors import OutputError

HOST = socket.gethostname().replace(".", "_")
CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


def output_error(error: OSError, path: Path) -> Exception:
    """The error itself, or an OutputError that names `path` where the disk or the folder is the cause."""
    if error.errno not in CANNOT_WRITE:
        return error
    advice = "Finished results are kept: fix the cause and run again"
    return OutputError(f"{path}: cannot be written: {error.strerror}. {advice}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; rename it to `path` on success, remove it on failure.

    Works for files and for folders (Zarr stores). The scratch name keeps the suffix, since writers choose formats by it.
    Scratch files that a killed process left for the same path are removed. Raises OutputError where the disk is full or
    the folder cannot be written to.
    """
    path = Path(path)
    scratch, replaced = (path.with_name(f".{path.stem}.{HOST}-{os.getpid()}{end}") for end in (path.suffix, ".old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        yield scratch
        with _folder_lock(path.parent):
            if path.is_dir():  # a folder cannot be replaced in one step
                os.replace(path, replaced)
            os.replace(scratch, path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        remove(scratch)
        remove(replaced)


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """Let processes replace files in `folder` one after another, where the file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.parent.is_dir():
        path.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Scratch files are named after host and process: those of a dead process of this host will never be renamed."""
    for name in glob.glob(f".{glob.escape(path.stem)}.{glob.escape(HOST)}-*", root_dir=path.parent):
        process = name.removeprefix(f".{path.stem}.{HOST}-").split(".")[0]
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            remove(path.with_name(name))
        except (PermissionError, ValueError):
            pass  # a live process of another user, or no scratch file


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_path(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def fingerprint(**parts: Any) -> str:
    """Hash of everything that decides a result: JSON-able `parts`, in any order. 32 hex digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_sha256(path: Path) -> str:
    """SHA-256 of the whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
