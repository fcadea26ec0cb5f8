"""Files written whole or not at all, and fingerprints of what decided a result."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SAMPLES, SAMPLE_BYTES = 16, 65536


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a scratch path beside `path`; rename it to `path` on success, remove it on failure.

    Works for files and for folders (Zarr stores). The scratch name keeps the suffix: writers choose formats by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    old = path.with_name(f".{path.stem}.{os.getpid()}.old")
    try:
        yield scratch
        if path.is_dir():  # a folder cannot be replaced in one step; aside, it is never seen half removed
            os.replace(path, old)
        os.replace(scratch, path)
    finally:
        for leftover in (scratch, old):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink(missing_ok=True)


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
    """Identity of a slide's content: its size and 16 samples of 64 KiB spread evenly over it.

    Slides are gigabytes: hashing all of one would cost as much as reading its tiles. The result does not depend on
    the file's place or time stamps, so copying a data set recomputes nothing.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for k in range(SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * k // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:32]
