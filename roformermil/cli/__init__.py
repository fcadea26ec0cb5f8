"""The command line: one verb a rule of the workflow, nothing but argument passing.

Settings are handed over in the config's own words, as YAML or JSON: `--tissue '{method: otsu}'`; what is left out
has the config's default. Heavy imports happen inside the verb that needs them.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from roformermil import __version__
from roformermil.cli import project, sharing, slides, studies, training
from roformermil.errors import RoFormerMILError
from roformermil.progress import is_for_people

HELP = """Whole-slide image classification from slide-level labels (arXiv 2310.01924).

Most users call `snakemake --cores all --configfile FILE`, whose rules call these verbs, after `roformermil check FILE`; and
`roformermil predict SLIDES --model FOLDER` and `roformermil explain results/summary.csv --row ROW` by themselves. Settings are handed over in
the config's own words, as YAML or JSON: `--tissue '{method: otsu}'`.
"""
app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for part in (slides, training, sharing, studies, project):
    app.add_typer(part.app)
log = logging.getLogger("roformermil")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"roformermil {__version__}")
        raise typer.Exit


@app.callback()
def common(
    log_file: Annotated[Path | None, typer.Option("--log", help="write what happens to this file too")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="say which")] = False,
) -> None:
    screen = logging.StreamHandler()
    screen.addFilter(is_for_people)
    handlers: list[logging.Handler] = [screen]
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log_file, mode="w", encoding="utf-8"))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)


def main() -> None:
    """Entry point: errors that have a name end in one line, not in a traceback."""
    try:
        app()
    except RoFormerMILError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.exception("unexpected error")  # with its traceback, in the log file too
        sys.exit(2)
