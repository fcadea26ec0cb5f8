"""The pinned environments: what is installed here and what the rules' environments list are the versions of constraints.txt."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from functools import partial
from importlib.metadata import version
from pathlib import Path

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


IMPORT_WITHOUT = """
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.metadata import packages_distributions

class OfEnvironment:
    def find_spec(name, path=None, target=None):
        return None if name in hidden else PathFinder.find_spec(name, path, target)

installed, modules = sys.argv[1].split(), sys.argv[2].split()
names = {top: {one.lower().replace("_", "-") for one in dists} for top, dists in packages_distributions().items()}
hidden = {top for top, dists in names.items() if not dists & {*installed, "roformermil"}}
sys.meta_path[sys.meta_path.index(PathFinder)] = OfEnvironment
for module in modules:
    import_module(module)
"""


def verbs_by_environment() -> dict[str, set[str]]:
    """The verbs that rules run in each environment. Where tissue.yaml is in use, it takes the place of slides and features."""
    found: dict[str, set[str]] = {}
    for file in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^(?:rule|checkpoint) ", file.read_text(), flags=re.MULTILINE)[1:]:
            environment = re.search(r"envs/(\w+)\.yaml|(SLIDES|FEATURES)_ENV", rule)
            if environment and (verb := re.search(r'"([a-z-]+) [-{]', rule)):
                found.setdefault(environment[1] or environment[2].lower(), set()).add(verb[1])
    return found


def modules_of_verbs() -> dict[str, set[str]]:
    """The modules that each verb imports when it runs."""
    found = {}
    for file in (ROOT / "roformermil/cli").glob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                imports = {f"{node.module}" for node in ast.walk(function) if isinstance(node, ast.ImportFrom)}
                names = [ast.literal_eval(one.args[0]) for one in function.decorator_list if getattr(one, "args", [])]
                found[names[0] if names else function.name.replace("_", "-")] = imports
    return found


@pytest.mark.slow
@pytest.mark.parametrize("environment", sorted(verbs_by_environment()))
def test_verbs_import_only_what_the_environment_of_their_rules_has(environment):
    modules = {name for verb in verbs_by_environment()[environment] for name in modules_of_verbs()[verb]}
    pins = [line.split("==")[0] for line in pin.pin_dependencies(pin.ENVIRONMENTS[environment])]
    command = [sys.executable, "-c", IMPORT_WITHOUT, " ".join(pins), " ".join(sorted(modules))]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert modules and result.returncode == 0, result.stderr[-1500:]


def test_every_environment_gets_the_package_in_the_same_way():
    texts = {(ROOT / f"envs/{name}.post-deploy.sh").read_text() for name in pin.ENVIRONMENTS}
    assert texts == {pin.POST_DEPLOY}, "run: python envs/pin.py"


def test_an_environment_follows_the_planned_package_and_keeps_copies_for_jobs_that_still_run(tmp_path):
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "roformermil", checkout / "roformermil", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(tmp_path / "env")
    shutil.copy(tmp_path / "env/bin/python3", tmp_path / "env/bin/python")
    libraries = subprocess.run(
        [tmp_path / "env/bin/python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (Path(libraries) / "others.pth").write_text(sysconfig.get_path("purelib"))  # those that conda would install
    variables = {"PATH": f"{tmp_path / 'env/bin'}{os.pathsep}{os.environ['PATH']}"}
    run = partial(subprocess.run, cwd=tmp_path, check=True, capture_output=True, text=True)

    def planned(digest):
        return variables | {"ROFORMERMIL_CHECKOUT": str(checkout), "ROFORMERMIL_CODE": f"{__version__}:{digest}"}

    first = planned(package_digest())
    assert run(["bash", ROOT / "envs/slides.post-deploy.sh"], env=first).stdout == f"{__version__}\n"
    (checkout / "roformermil/__init__.py").write_text('__version__ = "changed"\n')
    (checkout / "roformermil/__main__.py").write_text("from roformermil import __version__\nprint(__version__)\n")
    start = partial(subprocess.Popen, ["roformermil"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    jobs = [start(env=planned("of the change")) for _ in range(4)]  # the first of a new version, at once
    assert [job.communicate()[0] for job in jobs] == ["changed\n"] * len(jobs)
    copies = tmp_path / "env/share/roformermil"
    assert sorted(path.name for path in copies.iterdir()) == sorted(
        f"{__version__}-{digest}" for digest in (package_digest(), "of the change")
    )
    assert all([path.name for path in copy.iterdir()] == ["roformermil"] for copy in copies.iterdir())
    assert all(copy.stat().st_mode & 0o055 == 0o055 for copy in copies.iterdir()), "others may use the environment"
    checkout.rename(tmp_path / "elsewhere")
    assert run(["roformermil", "version"], env=first).stdout == f"{__version__}\n"


def test_the_pinned_versions_are_installed():
    for name in ("torch", "zarr", "snakemake", "numpy"):
        assert version(name).split("+")[0] == PINS[name], name


def test_installed_packages_have_what_they_need():
    result = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
