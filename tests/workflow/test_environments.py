"""The pinned environments: what is installed here and what the rules' environments list are the versions of constraints.txt."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from envs.pin import (
    CONSTRAINTS,
    ENVIRONMENTS,
    HAS_TIATOOLBOX,
    POST_DEPLOY,
    environment_yaml,
    environments_here,
    pin_dependencies,
)
from tests import ROOT


def read_pins(constraints):
    return dict(line.split("==") for line in (ROOT / constraints).read_text().split() if "==" in line)


PINS = read_pins(CONSTRAINTS[HAS_TIATOOLBOX])


@pytest.mark.tiatoolbox
@pytest.mark.parametrize("name", ["tissue"])
def test_tiatoolboxs_environment_follows_from_its_constraints(name):
    test_an_environment_follows_from_the_constraints(name)


def test_each_environment_lists_only_versions_of_its_constraints():
    for name in ENVIRONMENTS:
        allowed = read_pins(CONSTRAINTS[name == "tissue"])
        known = {(key.lower().replace("_", "-").replace(".", "-"), value) for key, value in allowed.items()}
        lines = (ROOT / f"envs/{name}.yaml").read_text().splitlines()
        pins = {tuple(line.split("- ")[1].split("==")) for line in lines if line.startswith("      - ")}
        assert {(key.replace(".", "-"), value) for key, value in pins} <= known


@pytest.mark.parametrize("name", environments_here())
def test_an_environment_follows_from_the_constraints(name):
    pins = {key.lower().replace("_", "-"): value for key, value in PINS.items()}
    for pin in pin_dependencies(ENVIRONMENTS[name]):
        package, wanted = pin.split("==")
        assert pins[package] == wanted
    if sys.version_info[:2] == (3, 11):  # the version that the environments name
        assert (ROOT / f"envs/{name}.yaml").read_text() == environment_yaml(name), "run: python envs/pin.py"


def test_every_environment_installs_this_checkout_in_the_same_way():
    assert {(ROOT / f"envs/{name}.post-deploy.sh").read_text() for name in ENVIRONMENTS} == {POST_DEPLOY}


def test_the_pinned_versions_are_installed():
    assert {name: version(name).split("+")[0] for name in ("torch", "zarr", "snakemake", "numpy")} == {
        name: PINS[name] for name in ("torch", "zarr", "snakemake", "numpy")
    }


def test_installed_packages_have_what_they_need():
    result = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
