"""The command line: one verb a rule of the workflow, nothing but argument passing.

Heavy imports happen inside the verb that needs them.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from roformermil import __version__
from roformermil.cli import checking, cleaning, models, prediction, project, results, slides, viewing
from roformermil.errors import RoFormerMILError
from roformermil.runtime import progress
from roformermil.runtime.live_log import LiveLogHandler
from roformermil.runtime.provenance import check_code
from roformermil.runtime.subprocesses import preload

HELP = """Whole-slide image classification from slide-level labels (arXiv 2310.01924).

Most users run `roformermil init FOLDER`, then `check FILE`, `run FILE` and `view RESULTS`, and `predict SLIDES --model FOLDER`. \
`roformermil VERB --help` has an example.

The steps of the workflow take settings as in the configuration, as YAML or JSON: `--tissue '{method: otsu}'`. Keys that are \
left out have their defaults.
"""
STEPS = "Steps of the workflow, which its rules call"
app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for group in (project, checking, viewing, prediction, cleaning, slides, models, results):
    if group in (slides, models, results):
        for verb in group.app.registered_commands:
            verb.rich_help_panel = STEPS
    app.add_typer(group.app)
log = logging.getLogger("roformermil")
preload(__name__)  # subprocesses of a command import it as their main module


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roformermil {__version__}")
        raise typer.Exit


@app.callback()
def common(
    log_file: Annotated[Path | None, typer.Option("--log", help="write the log to this file too")] = None,
    live_log: Annotated[
        Path | None, typer.Option(help="file, if it exists, for progress and warnings; nothing is printed then")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    handlers: list[logging.Handler] = []
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w", encoding="utf-8"))
    if live_log and live_log.exists():
        progress.screen_is_free = False
        job = "job"
        if log_file and log_file.is_relative_to(live_log.parent):  # such as demo/resnet50-random/embed_0
            job = log_file.relative_to(live_log.parent).with_suffix("").as_posix()
        handlers.append(LiveLogHandler(live_log, job))
    else:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)
    check_code()


def main() -> None:
    """Run the command line. An error of this package is one line, not a traceback, and exit status 1 (143 after
    SIGTERM); a bug is exit status 2."""
    try:
        app()
    except RoFormerMILError as error:
        log.error("%s", error)
        sys.exit(error.exit_status)
    except Exception:
        log.exception("unexpected error")  # with its traceback, in the log file too
        sys.exit(2)
