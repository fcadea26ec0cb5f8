"""The verbs `check`, before a run, and `trace`, after it."""

import logging
import shlex
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
import yaml

from roformermil.runtime.text import plural

EPILOG = """Example: roformermil check mine.yaml --table slides.csv

It follows all keys of the configuration (docs/reference.md). Those that its findings most often change are `datasets`, `tissue`,
`tiles.target_mpp`, `max_failed_fraction`, `folds.count` and `leakage`."""
app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command(epilog=EPILOG)
def check(
    config: Annotated[Path, typer.Argument(help="configuration file")],
    table: Annotated[Path | None, typer.Option(help="write a row for every slide to this CSV file")] = None,
    measure: Annotated[
        bool,
        typer.Option("--measure/--no-measure", help="measure this machine for some seconds, to tell hours and disk"),
    ] = True,
) -> None:
    """Check a configuration before running it: settings, slide sheets, weights, every slide's file and tissue, folds and
    leaks; print what each slide is, and the hours and disk to expect."""
    from roformermil.check import check_file
    from roformermil.check.slides_table import describe_slides, write_table

    report = check_file(config, measure=measure)
    for dataset, problems in groupby(report.problems, key=lambda problem: problem.dataset):
        if rows := report.slides.get(dataset):
            typer.echo(f"\n{dataset}\n\n{describe_slides(rows)}\n")
        for problem in problems:
            log.log(logging.getLevelNamesMapping()[problem.level.upper()], "%s", problem)
    if table:
        write_table(table, [row for rows in report.slides.values() for row in rows])
        log.info("a row for every slide is in %s", table.absolute())
    if report.estimate:
        typer.echo(f"\n{report.estimate}\n")
    if errors := report.count("error"):
        log.error("%s: %s to fix before it can be run, see above", config.absolute(), plural(errors, "error"))
        raise typer.Exit(1)
    warnings = report.count("warning")
    log.info("%s", f"no error, but {plural(warnings, 'warning')}, see above" if warnings else "no problem found")
    command = f"roformermil run {shlex.quote(str(config))}"
    log.info("look at the tissue outlines next: %s tissue", command)
    log.info("then %s", f"run everything: {command}" if report.trains else f"encode the slides: {command} features")


@app.command(epilog="Example: roformermil trace results/summary.csv --row model=ro-abmil,metric=auroc. Settings: none.")
def trace(
    table: Annotated[Path, typer.Argument(help="results/.../summary.csv", exists=True, dir_okay=False)],
    row: Annotated[str, typer.Option(help="a row's number, 1 below the header, or model=ro-abmil,metric=auroc")],
    slides: Annotated[bool, typer.Option("--slides", help="list every slide, and compare its features")] = False,
) -> None:
    """Trace a number to its predictions, folds, features and slides. The exit status is 1 when anything changed since.

    Run it in the folder where snakemake ran: paths in results are relative to that folder."""
    from roformermil.evaluation.trace import summarise_trace, trace_number

    result = trace_number(table, row, read_features=slides)
    shown = result if slides else summarise_trace(result)
    typer.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120))
    if result["differs"]:
        raise typer.Exit(1)
