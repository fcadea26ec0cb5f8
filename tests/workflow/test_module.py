"""The workflow as a module of another workflow."""

import subprocess
import sys
from pathlib import Path

import yaml

from roformermil.demo import write_demo
from tests.conftest import ROOT

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
"""


def test_another_workflow_uses_this_one_with_a_configuration_of_its_own(tmp_path):
    write_demo(tmp_path / "slides", 6)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["datasets"] = {"mine": {"slides": "slides/slides.csv", "root": "slides", "classes": ["separate", "mixed"]}}
    config["results"] = "theirs"
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"roformermil": config, "other": 1}))
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(snakefile=ROOT / "Snakefile"))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "-n"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    text = result.stdout + result.stderr
    jobs = {
        line.split()[0]: int(line.split()[1])
        for line in text.split("Job stats:")[1].split("total")[0].splitlines()[3:]
        if line
    }
    assert jobs["report"] == jobs["roformermil_segment"] == jobs["roformermil_evaluate"] == 1
    assert jobs["roformermil_train"] == 5 * len(config["models"])


def test_the_catalogue_of_workflows_finds_what_it_asks_for():
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalogue["usage"]["software-stack-deployment"]["conda"] is True
    assert Path(ROOT / "config/README.md").exists()
