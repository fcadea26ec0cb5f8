"""The workflow started without naming its Snakefile."""

import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from roformermil import __version__
from roformermil.config import load_config
from roformermil.errors import ConfigError
from roformermil.runtime.provenance import HERE

PACKAGE = Path(__file__).parents[1]
# in an installed package, and in a checkout
SNAKEFILES = (PACKAGE / "workflow/Snakefile", HERE / "workflow/Snakefile")
CHOOSE_CORES = ("-c", "--cores", "-j", "--jobs", "-e", "--executor", "--profile", "--workflow-profile")


def find_snakefile() -> Path:
    """The workflow's Snakefile: the installed package's, or the checkout's. Raises ConfigError where there is none."""
    for path in SNAKEFILES:
        if path.is_file():
            return path
    raise ConfigError(f"no workflow beside {PACKAGE}: install roformermil again, or run snakemake in a clone of it")


def check_rules(read: Callable[[str], str], install: str) -> None:
    """Raises ConfigError where the rules of the running workflow are not those that the package beside Snakemake has: a deployed
    workflow of another release, or a checkout that was updated without the package. `Snakefile` counts as rules.

    `read` returns the text of a file of the running workflow (`rules/common.smk`), `install` is the command that installs its package.
    """
    own = find_snakefile().parent
    paths = [own / "Snakefile", *sorted(own.glob("rules/*.smk"))]
    names = [path.relative_to(own).as_posix() for path in paths]
    if different := [name for name in names if read(name).strip() != (own / name).read_text(encoding="utf-8").strip()]:
        raise ConfigError(
            f"this workflow and the roformermil {__version__} beside Snakemake, in {HERE}, are of different releases or commits: "
            f"{', '.join(different)} differ. Install the workflow's own: {install}"
        )


def snakemake_command(config: Path, arguments: Sequence[str]) -> list[str]:
    """The command that runs the workflow with this configuration, on all cores unless the arguments choose."""
    chosen = any(word.startswith(CHOOSE_CORES) for word in arguments)
    cores = [] if chosen else ["--cores", "all"]
    command = [sys.executable, "-P", "-m", "roformermil.project.start", "--snakefile", str(find_snakefile())]
    return [
        *command,
        *cores,
        *arguments,
        "--configfile",
        str(config),
    ]  # the last option, since it takes all words that follow


def run_workflow(config: Path, arguments: Sequence[str]) -> None:
    """Become Snakemake, so that signals and the exit status are its own; does not return.

    Jobs find this environment's `roformermil` although it may not be activated. Raises ConfigError for a wrong configuration.
    """
    load_config(config)  # its mistakes in one line each, not within Snakemake's
    command = snakemake_command(config, arguments)
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    os.execv(command[0], command)
