"""From feature stores to trained and packaged models."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli import options
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import read_slide_table
from roformermil.config import Folds, Leakage, Training
from roformermil.runtime.locks import exclusive
from roformermil.runtime.termination import finish_before_ending

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command(
    epilog="Example: roformermil split --sheet data/demo/slides.csv --slides results/demo/slides.csv --classes"
    " inflamed,excluded --folds '{count: 5}' --out folds.csv. Settings: `folds`, `leakage`,"
    " `datasets.NAME.classes`."
)
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


@app.command(
    epilog="Example: roformermil train --folds results/demo/folds.csv --fold 0 --features"
    " results/demo/features/resnet50-random --classes inflamed,excluded --model '{name: ro-abmil, hidden_dim:"
    " 64}' --training '{epochs: 2}' --out trained. Settings: `models`, `training`."
)
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
        finish_before_ending()  # while it waits for another run, SIGTERM ends it at once
        train_fold(job, out)


@app.command(
    epilog="Example: roformermil package results/demo/resnet50-random/ro-abmil/fold_*/predictions.csv --data"
    " results/demo --features results/demo/features/resnet50-random --out packaged. Settings: `tissue`, `tiles`,"
    " `encoder`."
)
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
