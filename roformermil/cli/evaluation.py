"""From predictions to numbers, and back."""

from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import ConfigText, Datasets, Predictions

app = typer.Typer()


@app.command()
def evaluate(
    predictions: Predictions,
    datasets: Datasets,
    out: Annotated[
        Path, typer.Option(help="results folder, for metrics.csv, summary.csv, summary.md, comparisons.csv, ...")
    ],
    config: ConfigText = "{}",
) -> None:
    """Compute every metric from the folds' predictions and write the tables."""
    from roformermil.evaluation.tables import write_tables

    write_tables(predictions, [out / name for name in datasets.split(",")], out, config)


@app.command()
def trace(
    table: Annotated[Path, typer.Argument(help="results/.../summary.csv", exists=True, dir_okay=False)],
    row: Annotated[str, typer.Option(help="a row's number, 1 below the header, or model=ro-abmil,metric=auroc")],
    slides: Annotated[
        bool, typer.Option("--slides", help="list every slide, and read and compare its features")
    ] = False,
) -> None:
    """Trace a number to its predictions, folds, features and slides. The exit status is 1 when anything changed since.

    Run it in the folder where snakemake ran: paths in results are relative to that folder."""
    import yaml

    from roformermil.evaluation.trace import summarise_trace, trace_number

    result = trace_number(table, row, read_features=slides)
    shown = result if slides else summarise_trace(result)
    typer.echo(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120))
    if result["differs"]:
        raise typer.Exit(1)
