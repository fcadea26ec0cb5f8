"""The workflow as a module of another workflow."""

import functools
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import write_demo_slides
from tests.conftest import ROOT
from tests.workflow.running import environment, planned

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


@pytest.fixture(params=["a folder", pytest.param("a web server", marks=pytest.mark.slow)])
def snakefile(request):
    """Where the other workflow finds this one."""
    if request.param == "a folder":
        yield ROOT / "Snakefile"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SimpleHTTPRequestHandler, directory=ROOT)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/Snakefile"
        server.shutdown()


def test_another_workflow_uses_this_one_with_a_configuration_of_its_own(snakefile, tmp_path):
    write_demo_slides(tmp_path / "slides", 6)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["datasets"] = {"mine": {"slides": "slides/slides.csv", "root": "slides", "classes": ["separate", "mixed"]}}
    config["results"] = "theirs"
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"roformermil": config, "other": 1}))
    (tmp_path / "Snakefile").write_text(SNAKEFILE.format(snakefile=snakefile))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    jobs = planned(subprocess.run([*command, "-n"], cwd=tmp_path, capture_output=True, text=True))
    assert jobs["report"] == jobs["roformermil_segment"] == jobs["roformermil_evaluate"] == 1
    assert jobs["roformermil_train"] == 5 * len(config["models"])
    done = subprocess.run(
        [*command, "theirs/mine/tiles/batch_0.csv"], cwd=tmp_path, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [row.status for row in read_slide_table(tmp_path / "theirs/mine/tiles/batch_0.csv")] == ["ok"] * 6


def test_the_catalogue_of_workflows_finds_what_it_asks_for():
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalogue["usage"]["software-stack-deployment"]["conda"] is True
    assert Path(ROOT / "config/README.md").exists()
