"""What a result came from: the code and the libraries that made it."""

import json
import platform
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from roformermil import __version__
from roformermil.runtime.files import write_text

if TYPE_CHECKING:
    import torch

CHECKOUT = Path(__file__).resolve().parents[2]
LIBRARIES = ["numpy", "opencv-python-headless", "openslide-bin", "pillow"]  # those on which numbers depend
LIBRARIES += ["scikit-learn", "scipy", "tiatoolbox", "timm", "torch"]


def run_metadata(device: "torch.device | None" = None) -> dict[str, str]:
    """Version and commit of this package, versions of Python and of the libraries that numbers depend on, the environment's
    name (a hash with `--use-conda`), and the name of a torch device."""
    return _software() | ({"device": _device_name(device)} if device is not None else {})


def write_provenance(path: Path, config: str) -> None:
    """Write the code and the configuration (JSON) behind the results beside `path`."""
    write_text(path, json.dumps({"run": run_metadata(), "config": json.loads(config)}, indent=1) + "\n")


def _device_name(device: "torch.device") -> str:
    import torch

    cuda = device.type == "cuda"
    return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}" if cuda else str(device)


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
