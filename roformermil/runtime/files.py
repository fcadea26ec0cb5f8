"""Files written completely or not at all, and fingerprints of whatever decided a result."""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from roformermil.errors import OutputError

HOST = socket.gethostname().replace(".", "_")
RENAMES = 100
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
    Scratch files that a killed process left in the folder are removed. Where processes write the same path at once, the last
    to rename is kept. Raises OutputError where the disk is full or the folder cannot be written to.
    """
    path = Path(path)
    scratch, replaced = (path.with_name(f".{path.stem}.{HOST}-{os.getpid()}{end}") for end in (path.suffix, ".old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path.parent)
        yield scratch
        with _folder_lock(path.parent):
            _replace(path, scratch, replaced)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        remove(scratch)
        remove(replaced)


def _replace(path: Path, scratch: Path, replaced: Path) -> None:
    """Rename `scratch` to `path`. A folder cannot be replaced in one step: what is there is renamed to `replaced` first, again
    where a process that this file system's locks do not reach put another there meanwhile."""
    for _ in range(RENAMES):
        if path.is_dir():
            remove(replaced)
            with suppress(FileNotFoundError):  # that process renamed it
                os.replace(path, replaced)
        try:
            return os.replace(scratch, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    raise OSError(errno.EBUSY, "other processes write here all the time", str(path))


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


def size_on_disk(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


@cache  # a folder may have a hundred thousand files: it is listed once per process
def remove_abandoned(folder: Path) -> None:
    """Scratch files are named after host and process: those of a dead process of this host will never be renamed."""
    names = re.compile(rf"\..+\.{re.escape(HOST)}-(\d+)(\..*)?")
    for name, process in [(name, match[1]) for name in os.listdir(folder) if (match := names.fullmatch(name))]:
        if not process_exists(int(process)):
            remove(folder / name)


def process_exists(number: int) -> bool:
    """Whether a process of this host has this number."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OverflowError, PermissionError):  # a process of another user; a number that is none
        pass
    return True


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
