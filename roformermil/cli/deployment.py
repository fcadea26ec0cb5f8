"""Models for others, and predictions with them."""

import json
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import SLIDE_TIMEOUT, Predictions, Threads, Timeout, use_machine

app = typer.Typer()


@app.command()
def package(
    predictions: Predictions,
    data: Annotated[Path, typer.Option(help="folder with the data set's slides.csv and leakage.csv", exists=True)],
    features: Annotated[Path, typer.Option(help="folder of feature stores", exists=True)],
    out: Annotated[Path, typer.Option(help="folder to write")],
    settings: Annotated[str, typer.Option(help="sections tissue, tiles and encoder of the configuration, JSON")] = "{}",
) -> None:
    """Package a model for others: one folder with all folds' parameters, settings, and a model card."""
    from roformermil.deployment.export import export_model

    export_model(predictions, data, features, json.loads(settings), out)


@app.command()
def predict(
    slides: Annotated[list[Path], typer.Argument(help="slide files, or feature stores (.zarr)")],
    model: Annotated[Path, typer.Option(help="a packaged model: results/DATASET/ENCODER/MODEL/model")],
    out: Annotated[Path, typer.Option(help="folder for predictions.csv and heatmaps/")] = Path("predictions"),
    weights: Annotated[Path | None, typer.Option(help="the encoder's weights, where they are a lab's own file")] = None,
    tissue_weights: Annotated[Path | None, typer.Option(help="the tissue network's weights, likewise")] = None,
    mpp: Annotated[float | None, typer.Option(min=0.01, help="um/px of slides that do not state it")] = None,
    heatmaps: Annotated[bool, typer.Option(help="draw heat maps too")] = True,
    timeout: Timeout = SLIDE_TIMEOUT,
    threads: Threads = 0,
) -> None:
    """Predict slides with a packaged model: from raw files to a table and heat maps."""
    from roformermil.deployment.predict import describe_predictions, predict_slides
    from roformermil.errors import Status
    from roformermil.runtime.locks import exclusive

    use_machine(threads)
    with exclusive(out / "predictions.csv"):
        rows = predict_slides(slides, model, out, weights, tissue_weights, mpp, heatmaps, timeout)
    typer.echo(describe_predictions(rows, out))
    if all(row["status"] != Status.OK for row in rows):
        raise typer.Exit(1)
