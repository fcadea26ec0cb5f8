"""What a result came from: the code and the libraries that made it."""

import json
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from roformermil import __version__
from roformermil.files import write_text

DECIDE_NUMBERS = ("numpy", "opencv-python-headless", "openslide-bin", "pillow", "scikit-learn", "scipy", "tiatoolbox", "timm", "torch")  # fmt: skip


def this_run(device: Any = None) -> dict[str, str]:
    """Version and commit of this package, of Python and of the libraries here that results' numbers depend on; the
    environment's name, which is a hash with `--use-conda`; and of a torch device what it is."""
    return _libraries() | ({"device": _name_of(device)} if device is not None else {})


def write_provenance(path: Path, config: str) -> None:
    """Write what the results beside `path` came from: the code, and the configuration (JSON)."""
    write_text(path, json.dumps({"run": this_run(), "config": json.loads(config)}, indent=1) + "\n")


def _name_of(device: Any) -> str:
    import torch

    if device.type != "cuda":
        return str(device)
    return f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"


@cache
def _libraries() -> dict[str, str]:
    found = {
        "roformermil": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
        "environment": Path(sys.prefix).name,
    }
    for name in DECIDE_NUMBERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # an environment holds what its step needs
            continue
    return found


@cache
def commit() -> str:
    """The checkout's git commit, `+changes` where files differ from it; empty for an installed copy."""
    checkout = Path(__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return ""
    try:
        head = _git(checkout, "rev-parse", "HEAD")
        return head + ("+changes" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):  # no git here, or not our checkout to ask
        return ""


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
