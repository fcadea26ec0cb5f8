"""Runs of the workflow, and a checkout to run it in."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from roformermil.cohort.synthetic import write_demo_slides
from tests import ROOT

COARSE_TILES = {"tile_px": 128, "target_mpp": 1.9}  # few, and fast to encode, for tests of other things


def snakemake(folder: Path, config: Path, *arguments: str, checkout: Path = ROOT) -> subprocess.CompletedProcess:
    """Run the workflow of a checkout in the working directory `folder`, on two cores unless the arguments name a profile."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", checkout / "Snakefile", "--directory", folder]
    command += [] if "--workflow-profile" in arguments else ["--cores", "2"]
    command += [*arguments, "--configfile", config]  # the last option, since it takes all words that follow
    return subprocess.run(command, capture_output=True, text=True, env=environment(checkout), cwd=folder)


def environment(checkout: Path = ROOT) -> dict[str, str]:
    """Environment variables with the commands of the running Python and the package of a checkout."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}


def planned_jobs(result: subprocess.CompletedProcess) -> dict[str, int]:
    """Number of jobs by rule that a dry run (`-n`) plans, without the rules that only list files."""
    assert result.returncode == 0, result.stderr[-3000:]
    text = result.stdout + result.stderr
    if "Nothing to be done" in text:
        return {}
    lines = re.split(r"\n *total ", text.split("Job stats")[1])[0].splitlines()  # with the live view, or without
    rows = [line.rpartition(" ") for line in map(str.strip, lines)]  # the live view writes `contact sheet`
    jobs = {rule.strip().replace(" ", "_"): int(count) for rule, _, count in rows if count.isdigit()}
    return {rule: count for rule, count in jobs.items() if rule not in ("all", "default")}


def copy_checkout(to: Path, slides: int = 24) -> Path:
    """Copy the files that git knows or would add, as they are in the working tree, and write the demo's slides."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name, follow_symlinks=False)
    write_demo_slides(to / "data/demo", slides)
    return to


def shorten(checkout: Path) -> None:
    """Make the checkout's demo fast: coarse tiles, three folds, ten epochs."""
    path = checkout / "config/config.yaml"
    config = yaml.safe_load(path.read_text()) | {"tiles": COARSE_TILES, "folds": {"count": 3}}
    config["training"] |= {"epochs": 10}
    path.write_text(yaml.safe_dump(config))
