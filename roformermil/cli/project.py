"""Checks and descriptions of a configuration."""

import logging
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
log = logging.getLogger("roformermil")
LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO}


@app.command()
def check(config: Annotated[Path, typer.Argument(help="configuration file")]) -> None:
    """Check a configuration before running it: settings, slide sheets, weights, every slide file, folds and leaks."""
    from roformermil.check import check_config
    from roformermil.config import load_config

    problems = check_config(load_config(config))
    for problem in problems:
        log.log(LEVELS[problem.level], "%s", problem)
    if errors := sum(problem.is_error for problem in problems):
        log.error("%s: %d error%s to fix before it can be run, see above", config, errors, "s" if errors > 1 else "")
        raise typer.Exit(1)
    log.info("no problem found; continue with: snakemake --cores all --configfile %s", config)


@app.command("schema")
def print_schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="tables for people instead")] = False,
) -> None:
    """Print the JSON schema of the configuration."""
    from roformermil.config.reference import config_reference, config_schema

    typer.echo(config_reference() if markdown else config_schema(), nl=False)


@app.command()
def version() -> None:
    """Print the version."""
    from roformermil import __version__

    typer.echo(__version__)
