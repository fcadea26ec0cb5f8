"""Plots, heat maps and the report's pages."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import (
    SLIDE_TIMEOUT,
    Datasets,
    Predictions,
    TableIn,
    TableOut,
    Threads,
    Timeout,
    use_machine,
    write_exclusively,
)

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command()
def plots(
    predictions: Predictions,
    out: Annotated[Path, typer.Option(help="folder for curves.png, calibration.png, confusion.png and history.png")],
) -> None:
    """Plot a data set's ROC and PR curves, calibration, confusion matrices and training curves."""
    from roformermil.report.plots.dataset import plot_dataset

    plot_dataset(predictions, out)


@app.command()
def heatmap(
    slides: TableIn,
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    models: Annotated[Path, typer.Option(help="folder with fold_*/model.safetensors", exists=True)],
    features: Annotated[Path, typer.Option(help="folder of feature stores", exists=True)],
    out: Annotated[Path, typer.Option(help="folder for the heat maps and their GeoJSON")],
    table: TableOut,
    timeout: Timeout = SLIDE_TIMEOUT,
    threads: Threads = 0,
) -> None:
    """Draw the heat map of each slide of a batch, by the model that was not trained on it."""
    from roformermil.cohort.slide_table import read_slide_table
    from roformermil.report.heatmaps.out_of_fold import write_out_of_fold_heatmaps

    use_machine(threads)
    records = read_slide_table(slides)
    write_exclusively(table, lambda: write_out_of_fold_heatmaps(records, folds, models, features, out, timeout))


@app.command()
def gallery(
    predictions: Predictions,
    heatmaps: Annotated[Path, typer.Option(help="folder that `heatmap` wrote", exists=True)],
    out: Annotated[Path, typer.Option(help="folder for copies of the chosen heat maps")],
    per_class: Annotated[int, typer.Option(min=0, help="right and wrong predictions per class")] = 1,
) -> None:
    """Choose the heat maps for the report: those of the most confident predictions."""
    from roformermil.report.heatmaps.gallery import copy_gallery

    log.info("chosen: %s", ", ".join(copy_gallery(predictions, heatmaps, out, per_class)))


@app.command()
def pages(
    results: Annotated[Path, typer.Argument(help="folder that `evaluate` wrote into")],
    datasets: Datasets,
) -> None:
    """Write the report's pages, `overview.html` and `tables.html`, and `comparisons.png`."""
    from roformermil.report.pages import write_pages

    write_pages(results, [results / name for name in datasets.split(",")])
