"""The workflow started without naming its Snakefile."""

import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

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
