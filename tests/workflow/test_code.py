"""Jobs run the code that the workflow was planned with, or refuse."""

import shutil
import subprocess

import yaml

from roformermil.runtime.provenance import HERE
from tests import ROOT
from tests.workflow.running import environment, snakemake_command


def test_a_job_refuses_other_code_than_that_beside_the_snakefile(tmp_path):
    """The checkout that plans differs by one line from the package that `roformermil` on PATH belongs to."""
    checkout, table = tmp_path / "checkout", "results/2024/tissue/batch_all.csv"
    for part in ("roformermil", "workflow", "envs"):
        shutil.copytree(ROOT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", checkout)
    (checkout / "pyproject.toml").touch()
    with (checkout / "roformermil/slides/tissue.py").open("a") as file:
        file.write("# another line\n")
    slides = [f"s{k},p{k},{k % 2},s{k}.tif\n" for k in range(6)]  # no job comes so far as to read them
    (tmp_path / "slides.csv").write_text("".join(["slide_id,patient_id,label,path\n", *slides]))
    for k in range(6):
        (tmp_path / f"s{k}.tif").write_text(f"{k}")
    data = {"slides": "slides.csv", "root": ".", "classes": ["0", "1"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"datasets": {"2024": data}, "folds": {"count": 3}}))
    command = snakemake_command(tmp_path, tmp_path / "config.yaml", table, checkout=checkout)
    variables = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    result = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tmp_path)
    assert result.returncode == 1 and not (tmp_path / table).exists()
    log = (tmp_path / "results/logs/2024/segment_all.log").read_text()
    assert f"from {HERE}, but the workflow was planned with roformermil" in log
    assert f"from {checkout}, whose source differs" in log and f"pip install --editable {checkout}" in log
