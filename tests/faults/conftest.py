"""The three verbs on a folder of slides, as a user's shell or a cluster's job runs them."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roformermil.cohort.slide_table import SlideRecord, read_slide_table

TILES = "{tile_px: 64, target_mpp: 2.0}"  # small and coarse: what is tested is the path
ENCODER = "{weights: random, compile: never}"


def write_sheet(path: Path, slides: list[Path]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["slide_id", "patient_id", "label", "path", "mpp"])
        writer.writerows([slide.stem, slide.stem, "x", slide, 0.5] for slide in slides)
    return path


def verbs(sheet: Path, out: Path, timeout: float = 60) -> list[list[str]]:
    """Command lines of `segment`, `tile` and `embed`."""
    python = [sys.executable, "-m", "roformermil"]
    limit = ["--timeout", str(timeout)]
    steps = [
        ["segment", "--sheet", sheet, "--allow-absolute", "--threads", "2", "--out", out / "tissue",
         "--status", out / "tissue.csv"],
        ["tile", out / "tissue.csv", "--masks", out / "tissue", "--tiles", TILES, "--out", out / "tiles",
         "--status", out / "tiles.csv"],
        ["embed", out / "tiles.csv", "--tables", out / "tiles", "--encoder", ENCODER, "--threads", "2",
         "--out", out / "features", "--status", out / "features.csv"],
    ]  # fmt: skip
    return [[*python, *map(str, step), *limit] for step in steps]


def run(sheet: Path, out: Path, timeout: float = 60) -> list[SlideRecord]:
    """All three; returns the final table."""
    for command in verbs(sheet, out, timeout):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
    return read_slide_table(out / "features.csv")


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the locks that tell runs of each other."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def atlas(shared) -> list[Path]:
    return sorted((shared / "slides/pathology_atlas").resolve().glob("*.svs"))


def marked(token: str) -> list[int]:
    """Processes that carry a token in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if token.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append(int(process.name))
        except OSError:
            pass  # ended meanwhile
    return found
