"""The demo on a real Slurm with one node and a fake GPU, with a broken slide and a training job that is ended as at its time limit."""

import os
import shutil
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table
from tests import ROOT
from tests.workflow.running import environment, snakemake_command, write_demo

pytestmark = pytest.mark.slurm

PATH = f"{environment()['PATH']}{os.pathsep}/usr/sbin"
ENVIRONMENT = {**os.environ, "PATH": PATH}
KINDS = (
    "embed",
    "train",
    "reference",
    "slides",
    "contact_sheet",
    "evaluate",
    "plots",
    "heatmap",
)  # the first two need a GPU
QUEUE_COLUMNS = ["jobid", "comment", "state", "minmemory", "partition", "tres-per-job", "timelimit"]


@pytest.fixture(scope="module")
def slurm(shared, tmp_path_factory):
    if missing := [name for name in ("slurmctld", "slurmd", "munged") if not shutil.which(name, path=PATH)]:
        pytest.skip(f"needs a Slurm to start (Debian: slurm-wlm, munge): no {missing[0]}")
    folder = tmp_path_factory.mktemp("slurm")
    script = shared / "tools/slurm_up.sh"
    subprocess.run(["bash", script, "up", folder], check=True, timeout=120, env=ENVIRONMENT)
    yield ENVIRONMENT | {"SLURM_CONF": str(folder / "slurm.conf")}
    subprocess.run(["bash", script, "down", folder], check=True, timeout=120, env=ENVIRONMENT)


@pytest.fixture(scope="module")
def finished(slurm, broken, tmp_path_factory):
    """The demo's folder after its run; the jobs seen in the queue, `QUEUE_COLUMNS` by id; the id of the ended job."""
    folder = tmp_path_factory.mktemp("demo")
    sections = {"tiles": {"tile_px": 128, "target_mpp": 1.0}, "folds": {"count": 3}, "training": {"epochs": 60}}
    write_demo(folder, 16, [broken / "cut.svs"], slides_per_batch=9, max_failed_fraction=0.1, **sections)
    profile = profile_for_this_node(folder)
    command = snakemake_command(folder, folder / "config.yaml", "--workflow-profile", str(profile))
    with open(folder / "log", "w") as log:
        run = subprocess.Popen(command, stdout=log, stderr=log, env=slurm, cwd=folder)
        seen, ended = watch_queue(run, slurm, folder)
    assert run.returncode == 0, (folder / "log").read_text()[-5000:]
    return folder, seen, ended


def profile_for_this_node(folder: Path) -> Path:
    """The profile with values for this node, which has few cores, partitions of an hour and no accounting."""
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    profile |= {"latency-wait": 10, "slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 1}
    profile["set-threads"] |= {"segment": 1, "embed": 2, "train": 1}
    for rule in ("segment", "tile", "embed"):
        profile["set-resources"].setdefault(rule, {})["runtime"] = 20
    profile["set-resources"]["train"]["runtime"] = 20
    (folder / "profile").mkdir()
    (folder / "profile/config.yaml").write_text(yaml.safe_dump(profile))
    return folder / "profile"


def watch_queue(run: subprocess.Popen, env: dict[str, str], folder: Path) -> tuple[dict[str, dict[str, str]], str]:
    """Read the queue until the run ends, and send SIGTERM to the first training that saved an epoch, as Slurm does before the time
    limit; returns jobs by id and the id of that job."""
    seen: dict[str, dict[str, str]] = {}
    ended = ""
    columns = ",".join(f"{name}:|" for name in QUEUE_COLUMNS)
    end = time.monotonic() + 1200
    while run.poll() is None:
        if time.monotonic() > end:
            run.kill()
        text = subprocess.run(["squeue", "-h", "-O", columns], capture_output=True, text=True, env=env).stdout
        for line in text.splitlines():
            job = dict(zip(QUEUE_COLUMNS, map(str.strip, line.split("|")), strict=False))
            seen[job["jobid"]] = job
            if not ended and job["state"] == "RUNNING" and job["comment"].endswith(trainings_begun(folder)):
                ended = job["jobid"]
                subprocess.run(["scancel", "--signal=TERM", ended], check=True, env=env)
        time.sleep(0.5)
    return seen, ended


def trainings_begun(folder: Path) -> tuple[str, ...]:
    """How the comments of jobs end whose trainings have saved an epoch."""
    saved = folder.glob("results/demo/*/*/fold_*/checkpoint.pt")
    return tuple(f"_{path.parts[-3]}_{path.parts[-2].removeprefix('fold_')}" for path in saved)


def test_the_run_finishes_with_a_broken_slide_and_an_ended_job(finished):
    folder, _, ended = finished
    statuses = {record.slide_id: record.status for record in read_slide_table(folder / "results/demo/slides.csv")}
    assert statuses.pop("cut") == "unreadable"
    assert list(statuses.values()) == ["ok"] * 16
    summary = pd.read_csv(folder / "results/summary.csv")
    assert set(summary.model) == {"abmil", "ro-abmil"} and (summary.folds == 3).all() and ended


def test_the_ended_job_resumes_with_more_memory_and_the_same_time(finished):
    folder, seen, ended = finished
    comment = seen[ended]["comment"]
    attempts = [job for job in seen.values() if job["comment"] == comment]
    first, second = (int(job["minmemory"].removesuffix("M")) for job in attempts)
    assert second == 2 * first and [job["timelimit"] for job in attempts] == ["20:00", "20:00"]
    *_, model, fold = comment.split("_")
    (log,) = folder.glob(f"results/logs/demo/*/{model}/fold_{fold}.log")
    assert "resuming after epoch" in log.read_text()


def test_gpu_rules_ask_for_a_gpu_and_a_batch_of_slides_is_one_job(finished):
    folder, seen, _ = finished
    batches = len(list(folder.glob("results/demo/batches/*.csv")))
    kinds = defaultdict(list)
    for job in seen.values():
        kinds[next((kind for kind in KINDS if kind in job["comment"]), "?")].append(job)
    on_gpu = kinds["embed"] + kinds["train"]
    assert {job["partition"] for job in on_gpu} == {"gpu"} and all("gpu:1" in job["tres-per-job"] for job in on_gpu)
    assert [len(kinds[kind]) for kind in ("slides", "embed", "train")] == [batches, batches, 6 + 1]
    assert batches == 3, "17 slides, at most 9 in each"
    assert {job["partition"] for kind in KINDS[2:] for job in kinds[kind]} <= {"cpu"}
    assert not kinds["?"], "local rules run where Snakemake runs"
