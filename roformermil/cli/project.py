"""Checks and descriptions of a configuration."""

import logging
import shlex
from pathlib import Path
from typing import Annotated

import typer

from roformermil import __version__
from roformermil.config import load_config, reference
from roformermil.runtime.text import plural

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command()
def check(config: Annotated[Path, typer.Argument(help="configuration file")]) -> None:
    """Check a configuration before running it: settings, slide sheets, weights, every slide's tissue, folds and leaks."""
    from roformermil.check import check_config

    problems = check_config(load_config(config))
    for problem in problems:
        log.log(logging.getLevelNamesMapping()[problem.level.upper()], "%s", problem)
    errors, warnings = (sum(p.count for p in problems if p.level == level) for level in ("error", "warning"))
    if errors:
        log.error("%s: %s to fix before it can be run, see above", config, plural(errors, "error"))
        raise typer.Exit(1)
    found = f"no error, but {plural(warnings, 'warning')}, see above" if warnings else "no problem found"
    log.info("%s; continue with: snakemake --cores all --configfile %s", found, shlex.quote(str(config.absolute())))


@app.command()
def schema(markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown tables")] = False) -> None:
    """Print the JSON schema of the configuration."""
    typer.echo(reference.config_reference() if markdown else reference.config_schema(), nl=False)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
