"""Files written whole or not at all, and fingerprints of what decided a result."""

import errno
import fcntl
import glob
import hashlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roformermil.errors import OutputError

log = logging.getLogger(__name__)
SAMPLES, SAMPLE_BYTES = 16, 65536
HOST = socket.gethostname().replace(".", "_")
SMALL = 2**24  # bytes; up to here a file counts with all of its content
TRIES, MEANWHILE = 100, {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST}
NOT_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


def output_error(error: OSError, path: Path) -> Exception:
    """The error as it is, or under its name where the disk or the folder is to blame."""
    if error.errno not in NOT_OURS:
        return error
    return OutputError(
        f"{path}: cannot be written: {error.strerror}. What was finished before is kept: mend this and run again"
    )


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; rename it to `path` on success, remove it on failure.

    Works for files and for folders (Zarr stores). The scratch name keeps the suffix: writers choose formats by it.
    Scratch that a killed process left for the same path is removed. Raises OutputError for a full disk, or a folder that
    cannot be written to.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.stem}.{HOST}-{os.getpid()}{path.suffix}")
    old = path.with_name(f".{path.stem}.{HOST}-{os.getpid()}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_scratch_of_the_dead(path)
        yield scratch
        _put(scratch, path, old)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        _remove(scratch)
        _remove(old)


def _put(scratch: Path, path: Path, old: Path) -> None:
    """Rename `scratch` to `path`. A folder cannot be replaced in one step: what is there goes aside to `old` first, so that
    it is never seen half removed; another run that does the same at this moment makes it be tried again."""
    for last in (*[False] * TRIES, True):
        try:
            if path.is_dir():
                os.replace(path, old)
            os.replace(scratch, path)
            return
        except OSError as error:
            if last or not scratch.exists() or error.errno not in MEANWHILE:
                raise
            _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif path.parent.is_dir():
        path.unlink(missing_ok=True)


def _remove_scratch_of_the_dead(path: Path) -> None:
    """Scratch files carry host and process: what belongs to a process of this host that is gone will never be renamed."""
    for leftover in glob.glob(f".{glob.escape(path.stem)}.{glob.escape(HOST)}-*", root_dir=path.parent):
        number = leftover.removeprefix(f".{path.stem}.{HOST}-").split(".")[0]
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            _remove(path.with_name(leftover))
        except (PermissionError, ValueError):
            pass  # of another user's process, alive; or no scratch of ours


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process of this or another host works on `path`, and keep others waiting meanwhile.

    A job whose Snakemake was killed may live on: what it still writes must not land among a later run's results. The lock
    goes with the process that holds it, however that ends. Where the file system knows no locks nothing is awaited.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path.with_name(f".{path.name}.lock"), "a")  # noqa: SIM115
    except OSError as error:
        raise output_error(error, path) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("%s: another run works on it: waiting for its end", path)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("%s: no locks on this file system (%s)", path, error.strerror)
        yield


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""
    with atomic_path(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def fingerprint(**parts: Any) -> str:
    """Hash of everything that decides a result: JSON-able `parts`, order immaterial. 32 hex digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def file_sha256(path: Path) -> str:
    """SHA-256 of the whole file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_id(path: Path) -> str:
    """Identity of a slide's content: all of a file of up to 16 MiB, of a larger one its size and 16 samples of 64 KiB
    spread evenly over it.

    Slides are gigabytes: hashing all of one would cost as much as reading its tiles. The result does not depend on
    the file's place or time stamps, so copying a data set recomputes nothing. A slide of several files counts with all
    of them (MRXS, VMS, DICOM); a folder (OME-Zarr) with the names and sizes of its files and the content of up to 16.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        names = [(file.relative_to(path).as_posix(), file.stat().st_size) for file in files]
        return fingerprint(files=names, samples=[content_id(file) for file in files[:: len(files) // SAMPLES + 1]])
    if companions := _companions(path):
        return fingerprint(index=_sampled(path), data=[content_id(companion) for companion in companions])
    return _sampled(path)


def _companions(path: Path) -> list[Path]:
    """What else a slide of several files is made of."""
    match path.suffix.lower():
        case ".mrxs":
            return [folder for folder in (path.with_suffix(""),) if folder.is_dir()]
        case ".vms" | ".vmu":
            return sorted(file for file in path.parent.glob(f"{glob.escape(path.stem)}*") if file != path)
        case ".dcm":
            return sorted(file for file in path.parent.glob("*.dcm") if file != path)
    return []


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    if size <= SMALL:
        return file_sha256(path)[:32]
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for k in range(SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * k // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:32]
