"""Snakemake as tests call it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT


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
