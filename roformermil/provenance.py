"""What a result came from: the code and the libraries that made it."""

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from roformermil import __version__

DECIDE_NUMBERS = ("numpy", "opencv-python-headless", "openslide-bin", "pillow", "scikit-learn", "scipy", "tiatoolbox", "timm", "torch")  # fmt: skip


@cache
def this_run() -> dict[str, str]:
    """Version and commit of this package, of Python and of the libraries here that results' numbers depend on."""
    found = {
        "roformermil": __version__,
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.platform(),
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
