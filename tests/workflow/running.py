"""Snakemake as tests call it."""

import os
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
    lines = text.split("Job stats:")[1].split("\ntotal")[0].splitlines()[3:]
    jobs = {rule: int(count) for rule, count in (line.split() for line in lines if line.strip())}
    return {rule: count for rule, count in jobs.items() if rule != "all"}
