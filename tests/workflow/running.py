"""Runs of the workflow, and a checkout to run it in."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from roformermil.cohort.synthetic import CLASSES, write_demo_slides
from tests import ROOT

COARSE_TILES = {"tile_px": 64, "target_mpp": 2.0}  # the demo's, but faster to encode, for tests of other things


def snakemake(folder: Path, config: Path, *arguments: str, checkout: Path = ROOT) -> subprocess.CompletedProcess:
    """Run the workflow of a checkout in the working directory `folder`, on two cores unless the arguments name a profile."""
    command = snakemake_command(folder, config, *arguments, checkout=checkout)
    return subprocess.run(command, capture_output=True, text=True, env=environment(checkout), cwd=folder)


def snakemake_command(folder: Path, config: Path, *arguments: str, checkout: Path = ROOT) -> list[str | Path]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", checkout / "Snakefile", "--directory", folder]
    command += [] if "--workflow-profile" in arguments else ["--cores", "2"]
    return [*command, *arguments, "--configfile", config]  # the last option, since it takes all words that follow


def run_workflow(folder: Path, *arguments: str, checkout: Path = ROOT) -> None:
    """Run the workflow with `config.yaml` of the folder; fails unless it succeeds."""
    result = snakemake(folder, folder / "config.yaml", *arguments, checkout=checkout)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-5000:]


def write_demo(folder: Path, slides: int = 24, unusable: Iterable[Path] = (), **sections: Any) -> None:
    """Write the demo's slides, their sheet with these other files added, and `config.yaml`: the demo's with two of its models,
    changed as by `change_config`."""
    sheet = write_demo_slides(folder / "slides", slides)
    with sheet.open("a") as file:
        for k, path in enumerate(unusable):
            shutil.copy(path, folder / "slides")
            file.write(f"{path.stem},other_{k},{CLASSES[k % 2]},{path.name}\n")
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["datasets"]["demo"] |= {"slides": str(sheet), "root": str(folder / "slides")}
    config["models"] = [model for model in config["models"] if model["name"] in ("abmil", "ro-abmil")]  # to save time
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    change_config(folder, **sections)


def change_config(folder: Path, **sections: Any) -> None:
    """Edit the folder's `config.yaml`: a mapping updates its section, another value replaces it."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for name, value in sections.items():
        config[name] = config.get(name, {}) | value if isinstance(value, dict) else value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


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


def copy_checkout(to: Path, slides: int = 40) -> Path:
    """Copy the files that git knows or would add, as they are in the working tree, and write the demo's slides."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).exists():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name, follow_symlinks=False)
    write_demo_slides(to / "data/demo", slides)
    return to
