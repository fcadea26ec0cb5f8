"""The pinned environments: constraints.txt is what is installed, and the rules' environments follow from it."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "envs"))
from pin import CONSTRAINTS, ENVIRONMENTS, HAS_TIATOOLBOX, POST_DEPLOY, closure, environment, written_here


def pins_of(constraints):
    return dict(line.split("==") for line in (ROOT / constraints).read_text().split() if "==" in line)


PINS = pins_of(CONSTRAINTS[HAS_TIATOOLBOX])


@pytest.mark.tiatoolbox
@pytest.mark.parametrize("name", ["tissue"])
def test_tiatoolboxs_environment_is_in_step(name):
    test_environments_are_in_step_with_the_constraints(name)


def test_each_environment_holds_versions_of_its_constraints_alone():
    for name in ENVIRONMENTS:
        allowed = pins_of(CONSTRAINTS[name == "tissue"])
        known = {(key.lower().replace("_", "-").replace(".", "-"), value) for key, value in allowed.items()}
        lines = (ROOT / f"envs/{name}.yaml").read_text().splitlines()
        pins = {tuple(line.split("- ")[1].split("==")) for line in lines if line.startswith("      - ")}
        assert {(key.replace(".", "-"), value) for key, value in pins} <= known


@pytest.mark.parametrize("name", written_here())
def test_environments_are_in_step_with_the_constraints(name):
    pins = {key.lower().replace("_", "-"): value for key, value in PINS.items()}
    for pin in closure(ENVIRONMENTS[name]):
        package, wanted = pin.split("==")
        assert pins[package] == wanted
    if sys.version_info[:2] == (3, 11):  # the version that the environments name
        assert (ROOT / f"envs/{name}.yaml").read_text() == environment(name), "run: python envs/pin.py"


def test_every_environment_installs_this_checkout_in_the_same_way():
    assert {(ROOT / f"envs/{name}.post-deploy.sh").read_text() for name in ENVIRONMENTS} == {POST_DEPLOY}


def test_what_is_installed_is_what_is_pinned():
    assert {name: version(name).split("+")[0] for name in ("torch", "zarr", "snakemake", "numpy")} == {
        name: PINS[name] for name in ("torch", "zarr", "snakemake", "numpy")
    }


def test_nothing_installed_is_broken():
    result = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
