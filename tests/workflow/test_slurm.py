"""The demo through a real Slurm: a node of this machine's cores and one pretend GPU, a broken slide, a job killed on its way."""

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
from tests.conftest import ROOT

SMALL = ("contact", "evaluate", "figures", "heatmap")
ASKED = ["jobid", "comment", "state", "minmemory", "partition", "tres-per-job", "timelimit"]


@pytest.fixture(scope="module")
def slurm(shared, tmp_path_factory):
    if missing := [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name, path=path())]:
        pytest.skip(f"needs a Slurm to start (Debian: slurm-wlm, munge): no {missing[0]}")
    folder = tmp_path_factory.mktemp("slurm")
    script = shared / "tools/slurm_up.sh"
    subprocess.run(["bash", script, "up", folder], check=True, timeout=120, env={**os.environ, "PATH": path()})
    yield {**os.environ, "PATH": path(), "SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run(["bash", script, "down", folder], check=True, timeout=120, env={**os.environ, "PATH": path()})


def path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])


@pytest.fixture(scope="module")
def done(slurm, broken, tmp_path_factory):
    """The demo's folder after its run, and what was seen in the queue meanwhile: rows of `ASKED` by job."""
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
        seen, killed = watch(run, slurm)
    assert run.returncode == 0, (folder / "log").read_text()[-5000:]
    return folder, seen, killed


def profile_for_this_node(folder: Path) -> Path:
    """The profile with the values that a user sets: this node has few cores, its partitions an hour, and no accounting."""
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    profile |= {"latency-wait": 10, "slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 1}
    profile["set-threads"] |= {"segment": 1, "embed": 2, "train": 1}
    for rule in ("segment", "tile", "embed"):
        profile["set-resources"].setdefault(rule, {})["runtime"] = 20
    profile["set-resources"]["train"]["runtime"] = "20 * attempt"
    (folder / "profile").mkdir()
    (folder / "profile/config.yaml").write_text(yaml.safe_dump(profile))
    return folder / "profile"


def watch(run: subprocess.Popen, env: dict[str, str]) -> tuple[dict[str, dict[str, str]], str]:
    """Look at the queue until the run ends; the first training job that runs is killed."""
    seen: dict[str, dict[str, str]] = {}
    killed = ""
    form = ",".join(f"{name}:|" for name in ASKED)
    end = time.monotonic() + 600
    while run.poll() is None:
        if time.monotonic() > end:
            run.kill()
        text = subprocess.run(["squeue", "-h", "-O", form], capture_output=True, text=True, env=env).stdout
        for line in text.splitlines():
            job = dict(zip(ASKED, map(str.strip, line.split("|")), strict=False))
            seen[job["jobid"]] = job
            if not killed and "train" in job["comment"] and job["state"] == "RUNNING":
                killed = job["jobid"]
                subprocess.run(["scancel", killed], check=True, env=env)
        time.sleep(0.5)
    return seen, killed


@pytest.mark.slurm
def test_the_run_ends_well_with_a_broken_slide_and_a_killed_job(done):
    folder, _, killed = done
    rows = {row.slide_id: row.status for row in read_slide_table(folder / "results/demo/slides.csv")}
    assert rows.pop("cut") == "unreadable"
    assert list(rows.values()) == ["ok"] * 16
    summary = pd.read_csv(folder / "results/summary.csv")
    assert set(summary.model) == {"abmil", "ro-abmil"}
    assert (summary.folds == 3).all()
    assert killed


@pytest.mark.slurm
def test_the_killed_job_came_again_with_more_memory_and_time(done):
    _, seen, killed = done
    again = [job for job in seen.values() if job["comment"] == seen[killed]["comment"]]
    assert [job["minmemory"] for job in again] == ["8000M", "16000M"]
    assert [job["timelimit"] for job in again] == ["20:00", "40:00"]


@pytest.mark.slurm
def test_jobs_go_where_they_belong(done):
    """Embedding and training to the GPU's partition, one GPU each; slides of a batch in one job; small rules in none."""
    _, seen, _ = done
    kinds = defaultdict(list)
    for job in seen.values():
        kinds[next((kind for kind in ("embed", "train", "slides", *SMALL) if kind in job["comment"]), "?")].append(job)
    assert {job["partition"] for kind in ("embed", "train") for job in kinds[kind]} == {"gpu"}
    assert all("gpu:1" in job["tres-per-job"] for kind in ("embed", "train") for job in kinds[kind])
    assert {kind: len(jobs) for kind, jobs in kinds.items() if kind in ("embed", "train", "slides")} == {
        "slides": 2, "embed": 2, "train": 6 + 1
    }  # fmt: skip
    assert {job["partition"] for kind in ("slides", *SMALL) for job in kinds[kind]} <= {"cpu"}
    assert not kinds["?"]
