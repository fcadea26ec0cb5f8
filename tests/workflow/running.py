"""Snakemake as tests call it, and a checkout to call it in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from roformermil.cohort.synthetic import write_demo_slides
from tests.conftest import ROOT

COARSE = {"tile_px": 128, "target_mpp": 1.9}  # tiles, for tests that are not about them: few, and cheap to encode


def snakemake(folder: Path, config: Path, *arguments: str, package: Path = ROOT) -> subprocess.CompletedProcess:
    """Run the workflow of a checkout (`package`) in a working directory of its own."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", package / "Snakefile", "--directory", folder]
    command += ["--cores", "2", *arguments, "--configfile", config]  # which takes all that follows
    return subprocess.run(command, capture_output=True, text=True, env=environment(package), cwd=folder)


def environment(package: Path = ROOT) -> dict[str, str]:
    """This environment's commands, and the package of a checkout."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}


def planned(result: subprocess.CompletedProcess) -> dict[str, int]:
    """Jobs by rule that a dry run (`-n`) would run; the last, which makes nothing, left out."""
    assert result.returncode == 0, result.stderr[-3000:]
    text = result.stdout + result.stderr
    if "Nothing to be done" in text:
        return {}
    lines = re.split(r"\n *total ", text.split("Job stats")[1])[0].splitlines()  # with the live view, or without
    jobs = {cells[0]: int(cells[1]) for cells in map(str.split, lines) if len(cells) == 2 and cells[1].isdigit()}
    return {rule: count for rule, count in jobs.items() if rule != "all"}


def copy_checkout(to: Path, slides: int = 24) -> Path:
    """What git would give a user, with the changes of the working tree, and the demo's slides, 24 of them as `make demo` makes."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    write_demo_slides(to / "data/demo", slides)
    return to


def shorten(checkout: Path) -> None:
    """Change the demo's configuration to one that takes less time: coarse tiles, three folds, ten epochs."""
    path = checkout / "config/config.yaml"
    config = yaml.safe_load(path.read_text()) | {"tiles": COARSE, "folds": {"count": 3}}
    config["training"] |= {"epochs": 10}
    path.write_text(yaml.safe_dump(config))
