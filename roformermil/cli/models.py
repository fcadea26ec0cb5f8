"""From feature stores to trained models, packaged models and predictions with them."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli import options
from roformermil.cohort.slide_sheet import parse_mpp, read_slide_sheet
from roformermil.cohort.slide_table import read_slide_table
from roformermil.config import SLIDE_TIMEOUT, Folds, Leakage, Training
from roformermil.errors import Status
from roformermil.runtime.locks import exclusive

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command()
def split(
    sheet: options.Sheet,
    slides: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    out: Annotated[Path, typer.Option(help="folds.csv to write; leakage.csv is written beside it")],
    classes: options.Classes,
    folds: Annotated[Folds, options.section(Folds, "--folds")],
    leakage: Annotated[Leakage, options.section(Leakage, "--leakage")],
    root: options.Root = None,
    allow_absolute: options.Absolute = False,
) -> None:
    """Divide the usable slides into folds, and check them for leaks."""
    from roformermil.bags.split import split_slides

    names, records = classes.split(","), read_slide_table(slides)
    listed = read_slide_sheet(sheet, root or sheet.parent, names, allow_absolute, check_files=False)
    for warning in split_slides(listed, records, names, folds, leakage, out):
        log.warning("%s", warning)


@app.command()
def train(
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    fold: Annotated[int, typer.Option(min=0, help="number of the fold")],
    features: options.Features,
    classes: options.Classes,
    model: options.ModelOption,
    out: Annotated[Path, typer.Option(help="folder for the model, its history and its predictions")],
    training: Annotated[Training, options.section(Training, "--training")],
    dataset: Annotated[str, typer.Option(help="name of the data set, from which seeds are derived")] = "dataset",
    threads: options.Threads = 0,
) -> None:
    """Train one fold of one model and predict its slides."""
    from roformermil.bags.folds import read_folds
    from roformermil.training import TrainingJob, train_fold

    options.use_machine(threads)
    job = TrainingJob(dataset, fold, read_folds(folds, fold), features, classes.split(","), model, training)
    with exclusive(out):
        train_fold(job, out)


@app.command()
def package(
    predictions: options.Predictions,
    data: Annotated[
        Path, typer.Option(help="folder with a data set's slides.csv, folds.csv, leakage.csv", exists=True)
    ],
    features: options.Features,
    out: Annotated[Path, typer.Option(help="folder to write")],
    settings: Annotated[
        str, typer.Option(help="sections tissue, tiles and encoder of the configuration, as YAML")
    ] = "{}",
) -> None:
    """Package a trained model for others: one folder with the parameters of all folds, the settings and a model card."""
    from roformermil.config.base import read_settings
    from roformermil.deployment.export import export_model
    from roformermil.deployment.model_card import Preparation

    export_model(predictions, data, features, read_settings(Preparation, settings, "--settings"), out)


MPP = typer.Option(
    parser=lambda text: parse_mpp(text, f"--mpp {text!r}"),
    metavar="FLOAT",
    help="um/px of slides that do not state a usable one",
)


@app.command()
def predict(
    slides: Annotated[list[Path], typer.Argument(help="slide files, or feature stores (.zarr)")],
    model: Annotated[Path, typer.Option(help="a packaged model: results/DATASET/ENCODER/MODEL/model")],
    out: Annotated[Path, typer.Option(help="folder for predictions.csv and heatmaps/")] = Path("predictions"),
    weights: Annotated[Path | None, typer.Option(help="weights of the encoder, if the training lab's own")] = None,
    tissue_weights: Annotated[Path | None, typer.Option(help="weights of the tissue segmentation, likewise")] = None,
    mpp: Annotated[float | None, MPP] = None,
    heatmaps: Annotated[bool, typer.Option(help="draw a heat map of each slide file")] = True,
    timeout: options.Timeout = SLIDE_TIMEOUT,
    threads: options.Threads = 0,
    shuffle_positions: Annotated[
        bool, typer.Option("--shuffle-positions", help="also predict each slide with its tiles' positions shuffled")
    ] = False,
) -> None:
    """Predict slides with a packaged model: from raw files to a table and heat maps."""
    from roformermil.deployment.predict import predict as predict_slides
    from roformermil.deployment.prediction_table import describe_predictions

    options.use_machine(threads)
    with exclusive(out / "predictions.csv"):
        rows = predict_slides(
            slides, model, out, weights, tissue_weights, mpp, heatmaps, timeout, shuffle_positions=shuffle_positions
        )
    typer.echo(describe_predictions(rows, out))
    if all(row["status"] != Status.OK for row in rows):
        raise typer.Exit(1)
