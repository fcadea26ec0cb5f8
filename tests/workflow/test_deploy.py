"""The workflow deployed from a tag of a git remote, with the package installed beside Snakemake; and its jobs in a container."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from roformermil.cohort.synthetic import write_demo_slides
from tests.workflow.running import COARSE_TILES, copy_checkout, environment, planned_jobs, snakemake, write_demo

TAG = "v0.1.0"
GITHUB = "https://github.com/someone/RoFormerMIL"
CONTAINER_RUNTIME = """#!/usr/bin/env bash
# `apptainer exec [OPTIONS] IMAGE bash -c COMMAND`, which notes the image and runs the command here
if [ "$1" = --version ]; then echo apptainer version 1.3.0; exit; fi
while [ "$1" != bash ]; do image=$1; shift; done
echo "$image" >> "$IMAGES"
exec "$@"
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """A folder that snakedeploy made from a tag, the package of that tag, and environment variables in which git finds the
    remote at its address on GitHub."""
    folder = tmp_path_factory.mktemp("deployed")
    source = copy_checkout(folder / "source", slides=1)
    bare = folder / "remotes/someone/RoFormerMIL"
    identity = ["-c", "user.name=a", "-c", "user.email=a"]
    for arguments in (
        ["init", "--quiet"],
        ["add", "."],
        [*identity, "commit", "--quiet", "--message", "first"],
        ["tag", TAG],
        ["clone", "--quiet", "--bare", ".", str(bare)],
    ):
        subprocess.run(["git", *arguments], cwd=source, check=True)
    redirect = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": "https://github.com/"}
    redirect["GIT_CONFIG_KEY_0"] = f"url.file://{folder / 'remotes'}/.insteadOf"
    variables = environment(source) | redirect | {"XDG_CACHE_HOME": str(folder / "cache")}
    command = [Path(sys.executable).parent / "snakedeploy", "deploy-workflow", GITHUB, folder / "here", "--tag", TAG]
    subprocess.run(command, check=True, env=variables)
    return folder / "here", source, variables


def run(deployed, *arguments):
    folder, _, variables = deployed
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--workflow-profile", "none", *arguments]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)


@pytest.mark.slow
def test_a_deployed_workflow_runs_with_the_users_configuration_and_not_the_demos(deployed):
    folder = deployed[0]
    missing = run(deployed, "-n")
    assert missing.returncode == 1 and f"`roformermil demo-slides {folder}/data/demo` writes" in missing.stdout
    write_demo_slides(folder / "slides", 6)
    mine = {"slides": "slides/slides.csv", "root": "slides", "classes": ["inflamed", "excluded"]}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"mine": mine}, "tiles": COARSE_TILES}))
    planned = planned_jobs(run(deployed, "-n", "--configfile", "mine.yaml"))
    assert planned["segment"] == planned["embed"] == 1, "the demo's slides are not among them"
    assert planned["train"] == 5 * 10, "the default's folds, not the demo's"
    result = run(deployed, "tissue", "--configfile", "mine.yaml")
    assert result.returncode == 0, result.stderr[-3000:]
    assert (folder / "results/mine/tissue.jpg").exists()


@pytest.mark.slow
def test_a_deployed_workflow_refuses_the_package_of_another_release(deployed, tmp_path):
    folder, source, variables = deployed
    other = shutil.copytree(source, tmp_path / "other")
    with (other / "workflow/rules/training.smk").open("a") as rules:
        rules.write("# of another release\n")
    result = run((folder, other, variables | {"PYTHONPATH": str(other)}), "-n")
    assert result.returncode == 1 and "rules/training.smk differ" in result.stdout
    assert f"pip install git+{GITHUB}@{TAG}" in result.stdout


@pytest.mark.slow
def test_jobs_run_in_the_container_of_the_configuration(tmp_path):
    write_demo(tmp_path, slides=4, tiles=COARSE_TILES)
    refused = snakemake(tmp_path, tmp_path / "config.yaml", "--sdm", "apptainer", "-n")
    assert refused.returncode == 1 and "set runtime.container" in refused.stdout + refused.stderr
    settings = yaml.safe_load((tmp_path / "config.yaml").read_text()) | {"runtime": {"container": "image.sif"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apptainer").write_text(CONTAINER_RUNTIME)
    (tmp_path / "bin/apptainer").chmod(0o755)
    variables = environment() | {"IMAGES": str(tmp_path / "images.txt")}
    variables["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{variables['PATH']}"
    command = [sys.executable, "-m", "roformermil", "run", "config.yaml", "tissue", "--sdm", "apptainer"]
    result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert set((tmp_path / "images.txt").read_text().split()) == {"image.sif"}
