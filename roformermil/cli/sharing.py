"""What is looked at and handed on: heat maps, packaged models, predictions."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import StatusIn, StatusOut, Threads, Timeout, use_machine
from roformermil.files import alone

app = typer.Typer()
log = logging.getLogger("roformermil")
Predictions = Annotated[list[Path], typer.Argument(help="predictions.csv of every fold of one model", exists=True)]


@app.command()
def heatmap(
    slides: StatusIn,
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    models: Annotated[Path, typer.Option(help="folder with fold_*/model.safetensors", exists=True)],
    features: Annotated[Path, typer.Option(help="folder of feature stores", exists=True)],
    out: Annotated[Path, typer.Option(help="folder for the slides' sheets and GeoJSON")],
    status: StatusOut,
    timeout: Timeout = 600,
    threads: Threads = 0,
) -> None:
    """Draw the heat map of each slide of a batch, by the model that did not see it in training."""
    from roformermil.heatmap.out_of_fold import draw_batch
    from roformermil.status import read_status, write_status

    use_machine(threads)
    with alone(status):
        write_status(status, draw_batch(read_status(slides), folds, models, features, out, timeout))


@app.command()
def gallery(
    predictions: Predictions,
    sheets: Annotated[Path, typer.Option(help="folder that `heatmap` wrote", exists=True)],
    out: Annotated[Path, typer.Option(help="folder for copies of the chosen sheets")],
    per_class: Annotated[int, typer.Option(min=0, help="slides right, and slides wrong, of each class")] = 1,
) -> None:
    """Choose the heat maps that the report shows: those that the model was surest of."""
    from roformermil.heatmap.gallery import gallery as choose

    log.info("chosen: %s", ", ".join(choose(predictions, sheets, out, per_class)))


@app.command()
def package(
    predictions: Predictions,
    data: Annotated[Path, typer.Option(help="folder with the data set's slides.csv and audit.csv", exists=True)],
    features: Annotated[Path, typer.Option(help="folder of feature stores", exists=True)],
    out: Annotated[Path, typer.Option(help="folder to write")],
    settings: Annotated[str, typer.Option(help="sections tissue, tiles and encoder of the configuration, JSON")] = "{}",
) -> None:
    """Make a model that can be handed on: one folder with all folds' parameters, settings, and a model card."""
    from roformermil.package import package as pack

    pack(predictions, data, features, json.loads(settings), out)


@app.command()
def predict(
    slides: Annotated[list[Path], typer.Argument(help="slide files, or feature stores (.zarr)")],
    model: Annotated[Path, typer.Option(help="a packaged model: results/DATASET/ENCODER/MODEL/model")],
    out: Annotated[Path, typer.Option(help="folder for predictions.csv, heatmaps/ and what leads to them")] = Path(
        "predictions"
    ),
    weights: Annotated[
        Path | None, typer.Option(help="file of the encoder's weights, where they are a lab's own")
    ] = None,
    tissue_weights: Annotated[Path | None, typer.Option(help="the same for the tissue segmentation")] = None,
    mpp: Annotated[float | None, typer.Option(min=0.01, help="um/px of slides that state none")] = None,
    heatmaps: Annotated[bool, typer.Option(help="draw heat maps too")] = True,
    timeout: Timeout = 600,
    threads: Threads = 0,
) -> None:
    """Predict slides with a packaged model: from raw files to a table and heat maps."""
    from roformermil.metrics import COLUMN
    from roformermil.predict import predict as predict_slides
    from roformermil.status import OK

    use_machine(threads)
    with alone(out / "predictions.csv"):
        rows = predict_slides(slides, model, out, weights, tissue_weights, mpp, heatmaps, timeout)
    for row in rows:
        if row["status"] == OK:
            probability = row[f"{COLUMN}{row['decided']}"]
            doubt = f"; {row['caution']}" if row["caution"] else ""
            typer.echo(f"{row['slide_id']}: {row['decided']} ({probability:.3f}){doubt}")
        else:
            typer.echo(f"{row['slide_id']}: {row['status']}: {row['reason']}")
    drawn = sum(row["heatmap"] is not None for row in rows)
    typer.echo(f"{out / 'predictions.csv'}" + (f", {drawn} heat maps in {out / 'heatmaps'}" if drawn else ""))
    if all(row["status"] != OK for row in rows):
        raise typer.Exit(1)
