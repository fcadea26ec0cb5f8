"""The workflow run without naming its Snakefile, from a checkout and from an installed wheel."""

import json
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from roformermil.cohort.synthetic import write_demo_slides
from roformermil.errors import ConfigError
from roformermil.project.workflow import check_rules, find_snakefile, snakemake_command
from tests import ROOT
from tests.workflow.running import COARSE_TILES, environment, planned_jobs


def test_the_snakefile_is_that_of_the_checkout_and_cores_are_all_unless_chosen():
    assert find_snakefile() == ROOT / "workflow/Snakefile"
    start = [sys.executable, "-P", "-m", "roformermil.project.start", "--snakefile", str(ROOT / "workflow/Snakefile")]
    end = ["--configfile", "a.yaml"]
    assert snakemake_command(Path("a.yaml"), ["tissue", "-n"]) == [*start, "--cores", "all", "tissue", "-n", *end]
    for chosen in (["--cores", "4"], ["-c4"], ["-c", "4"], ["-j8"], ["--jobs=8"], ["--workflow-profile", "slurm"]):
        assert snakemake_command(Path("a.yaml"), chosen) == [*start, *chosen, *end]


def test_a_snakefile_or_rules_of_another_release_are_refused():
    own = find_snakefile().parent
    check_rules(lambda name: (own / name).read_text(), "pip install it")
    for other in ("Snakefile", "rules/common.smk"):
        with pytest.raises(ConfigError, match=f"{other} differ.*pip install it"):
            check_rules(
                lambda name, other=other: "other" if name == other else (own / name).read_text(), "pip install it"
            )


def run(folder, *arguments, command=(sys.executable, "-m", "roformermil"), **variables):
    return subprocess.run(
        [*command, "run", *arguments], cwd=folder, env=environment() | variables, capture_output=True, text=True
    )


@pytest.fixture
def folder(tmp_path):
    """Six demo slides in `slides`, their sheet without labels, and mine.yaml without classes."""
    write_demo_slides(tmp_path / "slides", 6)
    sheet = "".join(f"demo_{k:02},demo_{k:02}.tif\n" for k in range(6))
    (tmp_path / "mine.csv").write_text(f"slide_id,path\n{sheet}")
    config = {"datasets": {"mine": {"slides": "mine.csv", "root": "slides"}}, "tiles": COARSE_TILES}
    config |= {"encoder": {"weights": "random", "compile": "never"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


@pytest.mark.slow
def test_without_labels_tissue_and_features_can_be_made_and_training_says_what_is_missing(folder):
    planned = planned_jobs(run(folder, "mine.yaml", "-n", "features", "--workflow-profile", "none"))
    assert planned["embed"] == planned["contact_sheet"] == 1 and "split" not in planned
    result = run(folder, "mine.yaml")
    assert result.returncode == 1 and "Traceback" not in result.stdout + result.stderr
    assert (
        "mine cannot be trained on: no usable slide has a label: fill in column label of the slide sheet"
        in result.stderr
    )
    assert "targets `tissue` and `features` need no labels" in " ".join(result.stderr.split())
    assert not (folder / "results/mine").exists()


def test_mistakes_of_the_configuration_are_one_line_each(folder):
    (folder / "mine.yaml").write_text("datasets: {}\nfolds: {cuont: 3}\n")
    result = run(folder, "mine.yaml")
    assert result.returncode == 1 and result.stdout == "" and len(result.stderr.splitlines()) == 2
    assert "folds.cuont: unknown key; did you mean `count`" in result.stderr
    assert "none.yaml: cannot be read" in run(folder, "none.yaml").stderr


@pytest.mark.slow
def test_features_are_made_without_labels_and_without_an_activated_environment(folder):
    result = run(folder, "mine.yaml", "features", PATH="/usr/bin:/bin")
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert len(list((folder / "results/mine/features/resnet50-random").glob("*.zarr"))) == 6
    rows = (folder / "mine.csv").read_text().splitlines()
    labelled = [f"{row},{'xy'[k % 2]}" for k, row in enumerate(rows[1:])]
    (folder / "mine.csv").write_text("\n".join(["slide_id,path,label", *labelled]) + "\n")
    config = yaml.safe_load((folder / "mine.yaml").read_text()) | {"folds": {"count": 3}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    missing = run(folder, "mine.yaml", "-n")
    assert missing.returncode == 1 and "add classes: [x, y] to it, in the order of their index" in " ".join(
        missing.stderr.split()
    )
    config["datasets"]["mine"]["classes"] = ["x", "y"]
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    planned = planned_jobs(run(folder, "mine.yaml", "-n", "--workflow-profile", "none"))
    assert planned["split"] == 1 and "segment" not in planned and "embed" not in planned


@pytest.mark.slow
def test_a_wheel_runs_the_demo(tmp_path, tmp_path_factory):
    """Built outside the checkout, and installed in an environment of its own beside the packages that are here."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text()) | {"tiles": COARSE_TILES, "folds": {"count": 3}}
    config["models"] = config["models"][:2]
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(config))
    wheels = tmp_path_factory.mktemp("wheels")
    shutil.copytree(ROOT / "roformermil", wheels / "source/roformermil", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, wheels / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "constraints.txt", "constraints-tiatoolbox.txt"):
        shutil.copy(ROOT / name, wheels / "source")
    pip = [sys.executable, "-m", "pip"]
    options = ["--quiet", "--no-deps", "--no-index"]
    build = [*pip, "wheel", *options, "--no-build-isolation", "--wheel-dir", wheels, wheels / "source"]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(wheels / "env")
    python = wheels / "env/bin/python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    libraries = Path(subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())
    (libraries / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [*pip, "--python", python, "install", *options, *wheels.glob("*.whl")]
    subprocess.run(install, check=True, capture_output=True)
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ""}
    command = [wheels / "env/bin/roformermil"]
    subprocess.run([*command, "demo-slides", "data/demo", "--slides", "12"], cwd=tmp_path, check=True)
    result = run(tmp_path, "demo.yaml", command=command, **variables)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert (tmp_path / "results/report.html").exists()
    made_in = json.loads((tmp_path / "results/provenance.json").read_text())["environment"]
    assert made_in["constraints"]["sha256"] == sha256((ROOT / "constraints.txt").read_bytes()).hexdigest()


def test_ctrl_c_while_snakemake_is_imported_ends_with_one_line(tmp_path):
    command = [sys.executable, "-v", "-m", "roformermil.project.start", "--version"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    for line in process.stderr:  # -v tells what is imported
        if "import 'snakemake'" in line or "snakemake/__init__" in line:
            process.send_signal(signal.SIGINT)
            break
    text = process.stderr.read()
    assert process.wait() != 0 and text.count("Stopped by Ctrl-C.") == 1 and "Traceback" not in text
