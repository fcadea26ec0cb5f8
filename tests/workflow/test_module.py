"""The workflow as a module of another workflow."""

import json
import subprocess
import sys
from functools import partial

import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import write_demo_slides
from tests import ROOT
from tests.factories import serve_folder
from tests.workflow.running import environment, planned_jobs

SNAKEFILE = """
configfile: "settings.yaml"

module roformermil:
    snakefile: "{snakefile}"
    config: config["roformermil"]

use rule * from roformermil as roformermil_*

rule report:
    default_target: True
    input: rules.roformermil_all.input
    output: "report.txt"
    shell: "cat theirs/summary.md > {{output}}"

print("local:", *sorted(workflow._localrules))  # Snakemake has no public list of them
"""
DEPLOYED = """
configfile: "settings.yaml"

module roformermil:
    snakefile: "{snakefile}"
    config: config

use rule * from roformermil as roformermil_*
"""
LOCAL_RULES = (
    "batch_template",
    "check_slides",
    "choose",
    "collect",
    "download_batch",
    "gallery",
    "package",
    "pages",
    "split",
    "weights",
)


@pytest.fixture(params=["a folder", pytest.param("a web server", marks=pytest.mark.slow)])
def snakefile(request):
    """The path or address of this workflow, as the other workflow states it."""
    if request.param == "a folder":
        yield ROOT / "Snakefile"
        return
    with serve_folder(ROOT) as address:
        yield f"{address}/Snakefile"


@pytest.mark.slow
def test_another_workflow_uses_this_one_with_a_configuration_of_its_own(snakefile, tmp_path):
    write_demo_slides(tmp_path / "slides", 6)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["datasets"] = {
        "mine": {"slides": "slides/slides.csv", "root": "slides", "classes": ["inflamed", "excluded"]}
    }
    config["results"] = "theirs"
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"roformermil": config, "other": 1}))
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    run = partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True, env=environment())
    plan = run([*command, "-n"])
    assert " ".join(["local:", *(f"roformermil_{rule}" for rule in LOCAL_RULES)]) in plan.stdout
    jobs = planned_jobs(plan)
    assert jobs["report"] == jobs["roformermil_segment"] == jobs["roformermil_evaluate"] == 1
    assert jobs["roformermil_train"] == 5 * len(config["models"])
    result = run([*command, "theirs/mine/tiles/batch_all.csv"])
    assert result.returncode == 0, result.stderr[-3000:]
    assert all(record.is_ok for record in read_slide_table(tmp_path / "theirs/mine/tiles/batch_all.csv"))


def test_data_sets_of_the_command_line_keep_the_other_settings_of_the_outer_workflow(tmp_path):
    write_demo_slides(tmp_path / "slides", 6)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text()) | {"results": "theirs"}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "Snakefile").write_text(DEPLOYED.format(snakefile=ROOT / "Snakefile"))
    dataset = {"slides": "slides/slides.csv", "root": "slides", "classes": ["inflamed", "excluded"]}
    given = f"datasets={json.dumps({'demo': dataset})}"
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        "-n",
        "theirs/demo/batches/all.csv",
        "--config",
        given,
    ]
    plan = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert planned_jobs(plan)["roformermil_list_slides"] == 1


def test_the_workflow_catalog_has_the_files_that_it_needs():
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalog["usage"]["software-stack-deployment"]["conda"] is True
    assert (ROOT / "workflow/Snakefile").exists() and (ROOT / "config/README.md").exists()
