"""What a result came from: the code and the libraries that made it; and whether a job runs the code that the workflow was
planned with."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roformermil import __version__
from roformermil.errors import ConfigError
from roformermil.runtime.files import write_text
from roformermil.runtime.stage_versions import package_digest

if TYPE_CHECKING:
    import torch

HERE = Path(__file__).resolve().parents[2]  # the folder that contains the package
# of jobs: the folder of the package that the workflow was planned with, and its version and digest (workflow/rules/common.smk)
PLANNED_FOLDER, PLANNED_CODE = "ROFORMERMIL_CHECKOUT", "ROFORMERMIL_CODE"
CHECKOUT = Path(os.environ.get(PLANNED_FOLDER, HERE))
CONSTRAINTS_FOLDERS = (CHECKOUT, CHECKOUT / "roformermil/envs")  # a wheel has the files among its environments
COPIES = "share/roformermil"  # of the package, in conda environments (envs/pin.py)
LIBRARIES = ["numpy", "opencv-python-headless", "openslide-bin", "pillow"]  # those on which numbers depend
LIBRARIES += ["scikit-learn", "scipy", "tiatoolbox", "timm", "torch"]


def code_variables() -> dict[str, str]:
    """The environment variables by which jobs know the code that the workflow was planned with."""
    return {PLANNED_FOLDER: str(HERE), PLANNED_CODE: _code()}


def check_code() -> None:
    """Raises ConfigError in a job that runs other code than the workflow was planned with."""
    planned = os.environ.get(PLANNED_CODE)
    if planned is None or planned == _code():
        return
    folder, prefix = Path(os.environ.get(PLANNED_FOLDER, "")), Path(sys.prefix)
    if folder == HERE:
        raise ConfigError(f"the source in {HERE} changed while the workflow ran: run snakemake again")
    if HERE.is_relative_to(prefix / COPIES):  # its copy was made while the source changed
        remedy = f"Remove {HERE} and run snakemake again, which then copies the planned one there"
    elif (folder / "pyproject.toml").exists():
        remedy = f"Install the planned one here (`pip install --editable {folder}`), or activate its environment"
    else:
        remedy = f"Activate the environment of the planned one: jobs run the `roformermil` on PATH, now {prefix}'s"
    raise ConfigError(
        f"this job runs roformermil {__version__} from {HERE}, but the workflow was planned with roformermil "
        f"{planned.split(':')[0]} from {folder}, whose source differs. {remedy}"
    )


def check_command() -> None:
    """Raises ConfigError where jobs would not find the command `roformermil`."""
    if shutil.which("roformermil"):
        return
    scripts = Path(sysconfig.get_path("scripts"))
    activate = f"source {scripts / 'activate'}" if (scripts / "activate").exists() else f"conda activate {sys.prefix}"
    if not (scripts / "roformermil").exists():
        activate = f"pip install --editable {HERE}"
    raise ConfigError(
        f"jobs run the command `roformermil`, which is not on PATH, since this environment is not activated. Activate it and "
        f"run snakemake again: {activate}"
    )


def _code() -> str:
    return f"{__version__}:{package_digest()}"


def run_metadata(device: "torch.device | None" = None) -> dict[str, str]:
    """Version and commit of this package, versions of Python and of the libraries that numbers depend on, the environment's
    name (a hash with `--use-conda`), and the name of a torch device."""
    return _software() | ({"device": device_name(device)} if device is not None else {})


def write_provenance(path: Path, config: str) -> None:
    """Write the code, all packages of this environment, and the configuration (JSON) behind the results to `path`."""
    stored = {"run": run_metadata(), "environment": environment_packages(), "config": json.loads(config)}
    write_text(path, json.dumps(stored, indent=1) + "\n")


def environment_packages() -> dict[str, Any]:
    """`packages`: version of each installed package by name. `constraints`: the name and SHA-256 of the file with the tested
    versions, and `differing`, the packages here that it names in another version. Empty where a copy has no such file."""
    packages = {_normalize(one.name): one.version for one in distributions()}
    name = "constraints-tiatoolbox.txt" if "tiatoolbox" in packages else "constraints.txt"
    constraints: dict[str, Any] = {}
    if path := next(filter(Path.is_file, (folder / name for folder in CONSTRAINTS_FOLDERS)), None):
        text = path.read_text(encoding="utf-8")
        pins = dict(line.split("==") for line in text.split() if "==" in line)
        tested = {_normalize(package): pin for package, pin in pins.items()}
        releases = {package: release.split("+")[0] for package, release in packages.items()}  # +cpu is a build
        differing = sorted(package for package, release in releases.items() if tested.get(package, release) != release)
        constraints = {"file": name, "sha256": sha256(text.encode()).hexdigest(), "differing": differing}
    return {"packages": dict(sorted(packages.items())), "constraints": constraints}


def _normalize(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def device_name(device: "torch.device") -> str:
    """What computes the numbers: a GPU's model with the version of CUDA, else the device's type."""
    import torch

    cuda = device.type == "cuda"
    return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}" if cuda else device.type


@cache
def _software() -> dict[str, str]:
    versions = {"roformermil": __version__, "commit": commit(), "python": platform.python_version()}
    versions |= {"machine": platform.platform(), "environment": Path(sys.prefix).name}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # an environment has only what its step needs
            versions[name] = version(name)
    return versions


@cache
def commit() -> str:
    """The checkout's git commit, `+changes` where files differ from it; empty for an installed copy."""
    if not (CHECKOUT / ".git").exists():
        return ""
    try:
        head = _git("rev-parse", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):  # git is not installed, or refuses this folder
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
