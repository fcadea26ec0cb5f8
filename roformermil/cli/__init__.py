"""The command line: one verb a rule of the workflow, nothing but argument passing.

Settings are given as in the configuration, as YAML or JSON: `--tissue '{method: otsu}'`. What is left out has its default.
Heavy imports happen inside the verb that needs them.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from roformermil import __version__
from roformermil.cli import cohort, deployment, evaluation, features, project, report, slides, studies, training
from roformermil.errors import RoFormerMILError
from roformermil.runtime import progress
from roformermil.runtime.live_log import LiveLogHandler
from roformermil.runtime.subprocesses import preload

HELP = """Whole-slide image classification from slide-level labels (arXiv 2310.01924).

Most users run `roformermil check FILE`, then `snakemake --cores all --configfile FILE`, whose rules call these verbs; and
`roformermil predict SLIDES --model FOLDER` and `roformermil trace results/summary.csv --row ROW` themselves. Settings are given as
in the configuration, as YAML or JSON: `--tissue '{method: otsu}'`.
"""
app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for group in (cohort, slides, features, training, evaluation, report, deployment, studies, project):
    app.add_typer(group.app)
log = logging.getLogger("roformermil")
preload(__name__)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roformermil {__version__}")
        raise typer.Exit


@app.callback()
def common(
    log_file: Annotated[Path | None, typer.Option("--log", help="write the log to this file too")] = None,
    live_log: Annotated[
        Path | None,
        typer.Option(help="append progress and warnings to this file, which Snakemake shows; print errors only"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    screen = logging.StreamHandler()
    handlers: list[logging.Handler] = [screen]
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w", encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)
    if live_log:
        screen.setLevel(logging.ERROR)
        progress.screen_is_free = False
        logging.getLogger().addHandler(LiveLogHandler(live_log, job_name(log_file, live_log)))


def job_name(log_file: Path | None, live_log: Path) -> str:
    """What lines of a job begin with: its log's place beside the live log, `demo/resnet50-random/embed_0`."""
    if log_file is None or not log_file.is_relative_to(live_log.parent):
        return "job"
    return log_file.relative_to(live_log.parent).with_suffix("").as_posix()


def main() -> None:
    """Entry point. Errors of this package end in one line instead of a traceback."""
    try:
        app()
    except RoFormerMILError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("unexpected error")  # with its traceback, in the log file too
        sys.exit(2)
