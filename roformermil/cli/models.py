"""From feature stores to trained and packaged models."""

import logging
from pathlib import Path
from typing import Annotated, Literal

import typer

from roformermil.cli import options
from roformermil.cohort.covariates import read_covariates
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.tcga_sites import with_sites
from roformermil.config import Decisions, Folds, Leakage, Training
from roformermil.config.dataset import SitesFrom
from roformermil.runtime.files import write_text
from roformermil.runtime.locks import exclusive
from roformermil.runtime.termination import finish_before_ending

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command(
    epilog="Example: roformermil split --sheet data/demo/slides.csv --slides results/demo/slides.csv --classes"
    " inflamed,excluded --folds '{count: 5}' --out folds.csv. Settings: `folds`, `leakage`,"
    " `datasets.NAME.classes`, `datasets.NAME.sites`, `datasets.NAME.validates`, `task`, `unit`, `covariates`."
)
def split(
    sheet: options.Sheet,
    slides: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    out: Annotated[Path, typer.Option(help="folds.csv to write; leakage.csv is written beside it")],
    folds: Annotated[Folds, options.section(Folds, "--folds")],
    leakage: Annotated[Leakage, options.section(Leakage, "--leakage")],
    classes: options.Classes = "",
    task: options.TaskOption = "classification",
    root: options.Root = None,
    allow_absolute: options.Absolute = False,
    sites: Annotated[SitesFrom, typer.Option(help="where sites are read from, for `mode: site` and leaks")] = "column",
    validates: Annotated[
        Path | None, typer.Option(help="results folder of the data set whose models these slides validate", exists=True)
    ] = None,
    unit: options.UnitOption = "slide",
    covariates: Annotated[
        str, typer.Option(help="columns of the slide sheet to write to covariates.csv beside it, separated by commas")
    ] = "",
) -> None:
    """Divide the usable slides into folds, and check them for leaks. Those of an external data set are only tested."""
    from roformermil.bags.split import split_slides

    predicted, records = options.given_task(task, classes), read_slide_table(slides)
    listed = read_slide_sheet(sheet, root or sheet.parent, predicted, allow_absolute, check_files=False)
    listed = with_sites(listed, sites)
    cells = read_covariates(sheet, covariates.split(","), [one.slide_id for one in listed]) if covariates else None
    for warning in split_slides(listed, records, predicted, folds, leakage, out, validates, unit, cells):
        log.warning("%s", warning)


@app.command(
    epilog="Example: roformermil train --folds results/demo/folds.csv --fold 0 --features"
    " results/demo/features/resnet50-random --classes inflamed,excluded --model '{name: ro-abmil, hidden_dim:"
    " 64}' --training '{epochs: 2}' --out trained. Settings: `models`, `task`, `training`, `unit`, `covariates`."
)
def train(
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    fold: Annotated[int, typer.Option(min=0, help="number of the fold")],
    features: options.Features,
    model: options.ModelOption,
    out: Annotated[Path, typer.Option(help="folder for the model, its history and its predictions")],
    training: Annotated[Training, options.section(Training, "--training")],
    classes: options.Classes = "",
    task: options.TaskOption = "classification",
    dataset: Annotated[str, typer.Option(help="name of the data set, from which seeds are derived")] = "dataset",
    trial: Annotated[
        bool, typer.Option("--trial", help="leave out the test slides and keep no model: for `choose`")
    ] = False,
    chosen: Annotated[
        Path | None, typer.Option(help="what `choose` wrote: settings that replace those given here", exists=True)
    ] = None,
    threads: options.Threads = 0,
    unit: options.UnitOption = "slide",
    covariates: options.Covariates = None,
) -> None:
    """Train one fold of one model and predict its slides or patients."""
    from roformermil.bags.folds import read_folds
    from roformermil.studies.trials import read_choice
    from roformermil.training import TrainingJob, train_fold, try_fold

    options.use_machine(threads)
    predicted = options.given_task(task, classes)
    if chosen:
        _, model, training = read_choice(chosen, model, training)
    rows = read_folds(folds, fold)
    job = TrainingJob(dataset, fold, rows, features, predicted, model, training, unit, covariates)
    with exclusive(out):
        finish_before_ending()  # while it waits for another run, SIGTERM ends it at once
        (try_fold if trial else train_fold)(job, out)


@app.command(
    epilog="Example: snakemake search --cores all --configfile mine.yaml, whose rules train the trials and call this verb."
    " Settings: `search`."
)
def choose(
    trials: Annotated[
        list[Path], typer.Argument(help="trial.json of each setting of a fold, as `train --trial` wrote", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="file to write: the chosen setting")],
    score: Annotated[Literal["loss", "auroc"], typer.Option(help="what chooses, of the validation slides")] = "loss",
) -> None:
    """Choose the best of a fold's trials by its validation slides."""
    from roformermil.studies.trials import write_choice

    log.info("chosen: %s", write_choice(trials, score, out))


@app.command(
    epilog="Example: roformermil external --model results/demo/resnet50-random/ro-abmil/fold_0/model.safetensors --folds"
    " results/demo/folds.csv --fold 0 --features results/demo/features/resnet50-random --dataset others --out tested."
    " Settings: `datasets.NAME.validates`, `covariates`."
)
def external(
    model: Annotated[Path, typer.Option(help="model.safetensors of a fold", exists=True)],
    folds: Annotated[Path, typer.Option(help="folds.csv of the external data set", exists=True)],
    fold: Annotated[int, typer.Option(min=0, help="number of the fold")],
    features: options.Features,
    dataset: Annotated[str, typer.Option(help="name of the external data set")],
    out: Annotated[Path, typer.Option(help="folder for the predictions")],
    threads: options.Threads = 0,
    covariates: options.Covariates = None,
) -> None:
    """Predict the slides of an external data set by the model of one fold."""
    from roformermil.bags.folds import read_folds
    from roformermil.training.external import predict_external

    options.use_machine(threads)
    with exclusive(out):
        predict_external(model, dataset, read_folds(folds, fold), features, out, covariates=covariates)


@app.command(
    epilog="Example: roformermil reference --folds results/demo/folds.csv --features results/demo/features/resnet50-random"
    " --out reference.safetensors. Settings: none."
)
def reference(
    folds: Annotated[Path, typer.Option(help="folds.csv of the data set that models are trained on", exists=True)],
    features: options.Features,
    out: Annotated[Path, typer.Option(help="file to write")],
) -> None:
    """Describe what training slides look like, so that others can be compared with them."""
    from roformermil.bags.folds import read_folds
    from roformermil.evaluation.shift import reference_of_folds, write_reference

    write_reference(out, reference_of_folds(read_folds(folds), features))


@app.command(
    epilog="Example: roformermil shift --reference results/demo/resnet50-random/reference.safetensors --folds"
    " results/demo/folds.csv --features results/demo/features/resnet50-random --out shift.csv. Settings: none."
)
def shift(
    reference: Annotated[Path, typer.Option(help="file that `reference` wrote", exists=True)],
    folds: Annotated[Path, typer.Option(help="folds.csv of the external data set", exists=True)],
    features: options.Features,
    out: Annotated[Path, typer.Option(help="table to write, one row per slide")],
) -> None:
    """Compare the slides of an external data set with the training slides: are their features alike?"""
    from roformermil.bags.folds import read_folds
    from roformermil.evaluation.shift import describe_shift_table, read_reference, shift_table

    table = shift_table(read_folds(folds), features, read_reference(reference))
    write_text(out, table.to_csv(index=False, lineterminator="\n"))
    log.info("%s", describe_shift_table(table))


@app.command(
    epilog="Example: roformermil package results/demo/resnet50-random/ro-abmil/fold_*/predictions.csv --data"
    " results/demo --features results/demo/features/resnet50-random --out packaged. Settings: `tissue`, `tiles`,"
    " `encoder`, `decisions`."
)
def package(
    predictions: options.Predictions,
    data: Annotated[
        Path, typer.Option(help="folder with a data set's slides.csv, folds.csv, leakage.csv", exists=True)
    ],
    features: options.Features,
    out: Annotated[Path, typer.Option(help="folder to write")],
    decisions: Annotated[Decisions, options.section(Decisions, "--decisions")],
    settings: Annotated[
        str, typer.Option(help="sections tissue, tiles and encoder of the configuration, as YAML")
    ] = "{}",
    reference: Annotated[
        Path | None,
        typer.Option(help="what training slides look like (verb `reference`); by default computed", exists=True),
    ] = None,
) -> None:
    """Package a trained model for others: one folder with the parameters of all folds, the settings and a model card."""
    from roformermil.config.base import read_settings
    from roformermil.deployment.export import export_model
    from roformermil.deployment.model_card import Preparation

    preparation = read_settings(Preparation, settings, "--settings")
    export_model(predictions, data, features, preparation, out, reference, decisions)
