"""What identifies the content of a slide's files, and which files changed since they were worked on."""

import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path

from roformermil.cohort.slide_table import read_slide_table
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
    if companions := _companions(path):
        return fingerprint(index=_hash_samples(path), data=[content_id(companion) for companion in companions])
    return _hash_samples(path)


def changed_files(files: Sequence[Path], table: Path) -> set[Path]:
    """The slide files that differ from those that the slide table `table` was made from.

    A file newer than the table but with the recorded content was touched or copied: it has not changed.
    """
    if not table.exists():
        return set(files)
    newer = [file for file in files if file.exists() and file.stat().st_mtime > table.stat().st_mtime]
    recorded = {record.path: record.content for record in read_slide_table(table)} if newer else {}
    return {file for file in newer if content_id(file) != recorded.get(file)}


def _companions(path: Path) -> list[Path]:
    """The other files of a slide that consists of several."""
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
