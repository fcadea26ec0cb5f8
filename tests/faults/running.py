"""The three verbs on a folder of slides, as a user's shell or a cluster's job runs them."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.runtime.records import write_rows

TILES = "{tile_px: 64, target_mpp: 2.0}"  # small and coarse, for speed
ENCODER = "{weights: random, compile: never}"


def write_table(path: Path, slides: list[Path]) -> Path:
    """Write the slide table that `segment` begins with."""
    write_rows(path, [{"slide_id": slide.stem, "path": str(slide), "sheet_mpp": "0.5"} for slide in slides])
    return path


def commands(slides: Path, out: Path, timeout: float = 60) -> list[list[str]]:
    """Command lines of `segment`, `tile` and `embed`."""
    segment = ["segment", slides, "--threads", "2"]
    tile = ["tile", out / "tissue.csv", "--masks", out / "tissue", "--tiles", TILES]
    embed = ["embed", out / "tiles.csv", "--tiles", out / "tiles", "--encoder", ENCODER, "--threads", "2"]
    verbs = []
    for verb, name in ((segment, "tissue"), (tile, "tiles"), (embed, "features")):
        common = ["--timeout", timeout, "--out", out / name, "--table", out / f"{name}.csv"]
        verbs.append([sys.executable, "-m", "roformermil", *map(str, [*verb, *common])])
    return verbs


def run(slides: Path, out: Path, timeout: float = 60) -> list[SlideRecord]:
    """Run all three; returns the last table."""
    for command in commands(slides, out, timeout):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-3000:]
    return read_slide_table(out / "features.csv")


def read_files(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, except for locks."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def processes_with(token: str) -> list[int]:
    """Processes with this text in their environment."""
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile
            if token.encode() in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                processes.append(int(process.name))
    return processes
