"""The demo on a real Slurm with one node and a pretended GPU, with a broken slide and a training job that is cancelled."""

import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import write_demo_slides
from tests import ROOT

CPU_RULES = ("contact_sheet", "evaluate", "plots", "heatmap")
QUEUE_COLUMNS = ["jobid", "comment", "state", "minmemory", "partition", "tres-per-job", "timelimit"]


@pytest.fixture(scope="module")
def slurm(shared, tmp_path_factory):
    if missing := [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name, path=search_path())]:
        pytest.skip(f"needs a Slurm to start (Debian: slurm-wlm, munge): no {missing[0]}")
    folder = tmp_path_factory.mktemp("slurm")
    script = shared / "tools/slurm_up.sh"
    subprocess.run(["bash", script, "up", folder], check=True, timeout=120, env={**os.environ, "PATH": search_path()})
    yield {**os.environ, "PATH": search_path(), "SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run(["bash", script, "down", folder], check=True, timeout=120, env={**os.environ, "PATH": search_path()})


def search_path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])


@pytest.fixture(scope="module")
def finished(slurm, broken, tmp_path_factory):
    """The demo's folder after its run; the jobs seen in the queue, `QUEUE_COLUMNS` by id; the id of the cancelled job."""
    folder = tmp_path_factory.mktemp("demo")
    sheet = write_demo_slides(folder / "slides", 16)
    shutil.copy(broken / "cut.svs", folder / "slides")
    sheet.write_text(sheet.read_text() + "cut,other,mixed,cut.svs\n")
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["datasets"]["demo"] |= {"slides": str(sheet), "root": str(folder / "slides")}
    config |= {"slides_per_batch": 9, "max_failed_fraction": 0.1, "tiles": {"tile_px": 128, "target_mpp": 1.0}}
    config["folds"]["count"] = 3
    config["models"] = [model for model in config["models"] if model["name"] in ("abmil", "ro-abmil")]
    config["training"] |= {"epochs": 60}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    command += ["--workflow-profile", profile_for_this_node(folder)]
    with open(folder / "log", "w") as log:
        run = subprocess.Popen(
            [*command, "--configfile", folder / "config.yaml"], stdout=log, stderr=log, env=slurm, cwd=folder
        )
        seen, cancelled = watch_queue(run, slurm)
    assert run.returncode == 0, (folder / "log").read_text()[-5000:]
    return folder, seen, cancelled


def profile_for_this_node(folder: Path) -> Path:
    """The profile with values for this node, which has few cores, partitions of an hour and no accounting."""
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    profile |= {"latency-wait": 10, "slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 1}
    profile["set-threads"] |= {"segment": 1, "embed": 2, "train": 1}
    for rule in ("segment", "tile", "embed"):
        profile["set-resources"].setdefault(rule, {})["runtime"] = 20
    profile["set-resources"]["train"]["runtime"] = "20 * attempt"
    (folder / "profile").mkdir()
    (folder / "profile/config.yaml").write_text(yaml.safe_dump(profile))
    return folder / "profile"


def watch_queue(run: subprocess.Popen, env: dict[str, str]) -> tuple[dict[str, dict[str, str]], str]:
    """Read the queue until the run ends, and cancel the first training job that runs; returns jobs by id and its id."""
    seen: dict[str, dict[str, str]] = {}
    cancelled = ""
    columns = ",".join(f"{name}:|" for name in QUEUE_COLUMNS)
    end = time.monotonic() + 600
    while run.poll() is None:
        if time.monotonic() > end:
            run.kill()
        text = subprocess.run(["squeue", "-h", "-O", columns], capture_output=True, text=True, env=env).stdout
        for line in text.splitlines():
            job = dict(zip(QUEUE_COLUMNS, map(str.strip, line.split("|")), strict=False))
            seen[job["jobid"]] = job
            if not cancelled and "train" in job["comment"] and job["state"] == "RUNNING":
                cancelled = job["jobid"]
                subprocess.run(["scancel", cancelled], check=True, env=env)
        time.sleep(0.5)
    return seen, cancelled


@pytest.mark.slurm
def test_the_run_finishes_with_a_broken_slide_and_a_cancelled_job(finished):
    folder, _, cancelled = finished
    statuses = {record.slide_id: record.status for record in read_slide_table(folder / "results/demo/slides.csv")}
    assert statuses.pop("cut") == "unreadable"
    assert list(statuses.values()) == ["ok"] * 16
    summary = pd.read_csv(folder / "results/summary.csv")
    assert set(summary.model) == {"abmil", "ro-abmil"}
    assert (summary.folds == 3).all()
    assert cancelled


@pytest.mark.slurm
def test_the_cancelled_job_is_submitted_again_with_more_memory_and_time(finished):
    _, seen, cancelled = finished
    attempts = [job for job in seen.values() if job["comment"] == seen[cancelled]["comment"]]
    assert [job["minmemory"] for job in attempts] == ["8000M", "16000M"]
    assert [job["timelimit"] for job in attempts] == ["20:00", "40:00"]


@pytest.mark.slurm
def test_gpu_rules_ask_for_a_gpu_and_a_batch_of_slides_is_one_job(finished):
    _, seen, _ = finished
    kinds = defaultdict(list)
    for job in seen.values():
        kinds[next((kind for kind in ("embed", "train", "slides", *CPU_RULES) if kind in job["comment"]), "?")].append(
            job
        )
    assert {job["partition"] for kind in ("embed", "train") for job in kinds[kind]} == {"gpu"}
    assert all("gpu:1" in job["tres-per-job"] for kind in ("embed", "train") for job in kinds[kind])
    assert {kind: len(jobs) for kind, jobs in kinds.items() if kind in ("embed", "train", "slides")} == {
        "slides": 2,
        "embed": 2,
        "train": 6 + 1,
    }
    assert {job["partition"] for kind in ("slides", *CPU_RULES) for job in kinds[kind]} <= {"cpu"}
    assert not kinds["?"], "local rules run where Snakemake runs"
