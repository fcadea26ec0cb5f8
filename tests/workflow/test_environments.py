"""The pinned environments: what is installed here and what the rules' environments list are the versions of constraints.txt."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from envs import pin
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


def test_every_environment_installs_this_checkout_in_the_same_way():
    assert {(ROOT / f"envs/{name}.post-deploy.sh").read_text() for name in pin.ENVIRONMENTS} == {pin.POST_DEPLOY}


def test_the_pinned_versions_are_installed():
    for name in ("torch", "zarr", "snakemake", "numpy"):
        assert version(name).split("+")[0] == PINS[name], name


def test_installed_packages_have_what_they_need():
    result = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
