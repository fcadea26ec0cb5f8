"""The pinned environments: what is installed here and what the rules' environments list are the versions of constraints.txt."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from functools import partial
from importlib.metadata import version

import pytest

from envs import pin
from roformermil import __version__
from roformermil.runtime.stage_versions import package_digest
from tests import ROOT


def read_pins(constraints):
    pins = [line.split("==") for line in (ROOT / constraints).read_text().split() if "==" in line]
    return {name.lower().replace("_", "-"): version for name, version in pins}


PINS = read_pins(pin.CONSTRAINTS[pin.HAS_TIATOOLBOX])


def test_each_environment_lists_only_versions_of_its_constraints():
    for name in pin.ENVIRONMENTS:
        allowed = read_pins(pin.CONSTRAINTS[name == "tissue"])
        known = {(key.replace(".", "-"), value) for key, value in allowed.items()}
        lines = (ROOT / f"envs/{name}.yaml").read_text().splitlines()
        pins = {tuple(line.split("- ")[1].split("==")) for line in lines if line.startswith("      - ")}
        assert {(key.replace(".", "-"), value) for key, value in pins} <= known


@pytest.mark.parametrize("name", [*pin.environments_here(), pytest.param("tissue", marks=pytest.mark.tiatoolbox)])
def test_an_environment_follows_from_the_constraints(name):
    for package, wanted in (line.split("==") for line in pin.pin_dependencies(pin.ENVIRONMENTS[name])):
        assert PINS[package] == wanted
    if sys.version_info[:2] == (3, 11):  # the version that the environments name
        assert (ROOT / f"envs/{name}.yaml").read_text() == pin.environment_yaml(name), "run: python envs/pin.py"


def test_every_environment_gets_the_package_in_the_same_way_and_a_new_one_for_each_version():
    """Snakemake names an environment after the text of this script and of its YAML."""
    texts = {(ROOT / f"envs/{name}.post-deploy.sh").read_text() for name in pin.ENVIRONMENTS}
    assert texts == {pin.POST_DEPLOY}, "run: python envs/pin.py"
    assert f"for roformermil {__version__}:" in pin.POST_DEPLOY


def test_an_environment_has_a_copy_of_the_planned_package_which_remains_when_the_checkout_moves(tmp_path):
    shutil.copytree(
        ROOT / "roformermil", tmp_path / "checkout/roformermil", ignore=shutil.ignore_patterns("__pycache__")
    )
    venv.create(tmp_path / "env")
    shutil.copy(tmp_path / "env/bin/python3", tmp_path / "env/bin/python")
    libraries = sysconfig.get_path("purelib")  # instead of those that conda would install
    variables = {"PATH": f"{tmp_path / 'env/bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": libraries}
    variables["ROFORMERMIL_CHECKOUT"] = str(tmp_path / "checkout")
    run = partial(subprocess.run, cwd=tmp_path, env=variables, check=True, capture_output=True, text=True)
    run(["bash", ROOT / "envs/slides.post-deploy.sh"])
    (tmp_path / "checkout").rename(tmp_path / "elsewhere")
    assert run(["roformermil", "version"]).stdout == f"{__version__}\n"
    code = "from roformermil.runtime import stage_versions as s; print(s.PACKAGE, s.package_digest())"
    package, digest = run(["python", "-c", code]).stdout.split()
    assert package.startswith(str(tmp_path / "env")) and digest == package_digest()


def test_the_pinned_versions_are_installed():
    for name in ("torch", "zarr", "snakemake", "numpy"):
        assert version(name).split("+")[0] == PINS[name], name


def test_installed_packages_have_what_they_need():
    result = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
