"""`snakemake --cores all --use-conda` with a real conda, against the same run without."""

import os
import platform
import subprocess
import sys

import pytest

from envs.pin import PYTHON
from tests.workflow.running import COARSE_TILES, change_config, copy_checkout, environment

USED_BY_DEMO = {"slides", "features", "training", "evaluation", "report", "download"}  # all but tissue


@pytest.fixture(scope="module")
def conda(shared, tmp_path_factory) -> dict[str, str]:
    """Environment variables with a conda of this test's own."""
    if platform.python_version() != PYTHON:
        pytest.skip(f"the local channel contains the running Python only; the environments need {PYTHON}")
    folder = tmp_path_factory.mktemp("conda")
    subprocess.run([sys.executable, shared / "tools/local_conda.py", folder], check=True, timeout=300)
    path = f"{folder / 'root/bin'}{os.pathsep}{environment()['PATH']}"
    return {**os.environ, "CONDARC": str(folder / "condarc"), "PATH": path}


@pytest.mark.conda
def test_the_demo_has_the_same_numbers_with_and_without_conda(conda, tmp_path):
    numbers = {}
    for name, arguments in {"with": ["--use-conda"], "without": []}.items():
        checkout = copy_checkout(tmp_path / name, slides=12)
        change_config(checkout / "config", tiles=COARSE_TILES, folds={"count": 3}, training={"epochs": 10})
        command = [sys.executable, "-m", "snakemake", "--cores", "all", *arguments]
        result = subprocess.run(command, cwd=checkout, env=conda, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-5000:]
        tables = [*checkout.glob("results/*.csv"), *checkout.glob("results/demo/*/*/fold_*/predictions.csv")]
        numbers[name] = {str(path.relative_to(checkout)): path.read_text() for path in tables}
    assert sum(path.endswith("/predictions.csv") for path in numbers["with"]) == 5 * 3
    assert numbers["with"] == numbers["without"]
    made = [path for path in (tmp_path / "with/.snakemake/conda").iterdir() if path.is_dir()]
    assert len(made) == len(USED_BY_DEMO)
    for folder in made:  # a copy of the package, which does not depend on the checkout
        assert len(list((folder / "share/roformermil").glob("*/roformermil/__init__.py"))) == 1
