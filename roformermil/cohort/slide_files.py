"""What identifies the content of a slide's files."""

import glob
import hashlib
from pathlib import Path
from typing import Any

from roformermil.runtime.files import file_sha256, fingerprint

SMALL_FILE = 2**24  # bytes; up to here all of a file is hashed
SAMPLES, SAMPLE_BYTES = 16, 65536  # of a larger one


def content_id(path: Path) -> str:
    """Hash of a slide's content, not of its place or dates: of a whole file of up to 16 MiB; of a larger one's size and
    16 samples of 64 KiB, evenly spread, since hashing gigabytes takes as long as reading all tiles.

    A slide of several files (MRXS, VMS, DICOM) is hashed with all of them; a folder (OME-Zarr) by the names and sizes
    of its files and the content of up to 16.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        names = [(file.relative_to(path).as_posix(), file.stat().st_size) for file in files]
        return fingerprint(files=names, samples=[content_id(file) for file in files[:: len(files) // SAMPLES + 1]])
    if parts := companions(path):
        data = [content_id(file) if file.is_dir() else _hash_samples(file) for file in parts]
        return fingerprint(index=_hash_samples(path), data=data)
    return _hash_samples(path)


def file_state(path: Path) -> dict[str, Any]:
    """Size and date of a slide's file, or the sums over its files, as fields of SlideRecord: whether they may have changed
    is seen from these without reading them. None where there is no file."""
    files = [path, *companions(path)]
    try:
        files += [file for folder in files[1:] if folder.is_dir() for file in folder.iterdir()]
        states = [file.stat() for file in files]
    except OSError:
        return {"bytes": None, "modified": None}
    return {"bytes": sum(s.st_size for s in states), "modified": sum(s.st_mtime_ns for s in states)}


def companions(path: Path) -> list[Path]:
    """The other files, or the folder, of a slide that consists of several."""
    if path.suffix.lower() == ".mrxs":
        return [folder for folder in (path.with_suffix(""),) if folder.is_dir()]
    same_stem = f"{glob.escape(path.stem)}*"
    pattern = {".vms": same_stem, ".vmu": same_stem, ".dcm": "*.dcm"}.get(path.suffix.lower())
    return sorted(file for file in path.parent.glob(pattern) if file != path) if pattern else []


def _hash_samples(path: Path) -> str:
    size = path.stat().st_size
    if size <= SMALL_FILE:
        return file_sha256(path)[:32]
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for k in range(SAMPLES):
            file.seek(max(0, size - SAMPLE_BYTES) * k // (SAMPLES - 1))
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()[:32]
