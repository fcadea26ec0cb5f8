"""The demo as a user runs it with a real conda: `snakemake --cores all --use-conda` in a checkout, against the same without.

What the run costs is the environments, so the demo is a short one: fewer slides, coarser tiles, three folds, few epochs.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from roformermil.demo import write_demo
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "envs"))
from pin import PYTHON

USED = {"slides", "features", "training", "evaluation", "figures", "download"}  # by the demo: all but tissue


@pytest.fixture(scope="module")
def conda(shared, tmp_path_factory) -> dict[str, str]:
    """The environment variables under which a conda of this test's own is found."""
    if platform.python_version() != PYTHON:
        pytest.skip(f"the local channel holds the running Python; the environments ask for {PYTHON}")
    folder = tmp_path_factory.mktemp("conda")
    subprocess.run([sys.executable, shared / "tools/local_conda.py", folder], check=True, timeout=300)
    path = os.pathsep.join([str(folder / "root/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "CONDARC": str(folder / "condarc"), "PATH": path}


def copy_checkout(to: Path) -> Path:
    """What git would give a user, with the changes of the working tree, half the demo's slides, and less to do in its config.yaml."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, to / name)
    write_demo(to / "data/demo", 12)
    config = yaml.safe_load((to / "config/config.yaml").read_text())
    config |= {"tiles": {"size": 128, "mpp": 1.9}, "folds": {"count": 3}}
    config["training"] |= {"epochs": 10}
    (to / "config/config.yaml").write_text(yaml.safe_dump(config))
    return to


@pytest.mark.conda
def test_the_demo_ends_in_the_same_table_with_and_without_conda(conda, tmp_path):
    tables = {}
    for name, arguments in {"with": ["--use-conda"], "without": []}.items():
        checkout = copy_checkout(tmp_path / name)
        command = [sys.executable, "-m", "snakemake", "--cores", "all", *arguments]
        result = subprocess.run(command, cwd=checkout, env=conda, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-5000:]
        tables[name] = (checkout / "results/summary.csv").read_text()
    assert tables["with"] == tables["without"]
    made = [path for path in (tmp_path / "with/.snakemake/conda").iterdir() if path.is_dir()]
    assert len(made) == len(USED)
    for environment in made:  # the package comes from that checkout, not from this one
        where = [environment / "bin/python", "-c", "import roformermil; print(roformermil.__file__)"]
        found = subprocess.run(where, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert found.stdout.startswith(str(tmp_path / "with"))
