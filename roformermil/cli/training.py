"""From feature stores to tables."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import Absolute, Classes, ConfigText, Root, Sheet, Text, Threads, use_machine
from roformermil.config import Audit, Folds, Model, Training
from roformermil.files import alone
from roformermil.settings import read_settings

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command()
def split(
    sheet: Sheet,
    slides: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    out: Annotated[Path, typer.Option(help="folds.csv to write")],
    classes: Classes,
    root: Root = None,
    allow_absolute: Absolute = False,
    folds: Text = "{}",
    audit: Text = "{}",
) -> None:
    """Divide the usable slides into folds, and look for leaks: `audit.csv` beside `--out`."""
    from roformermil.bags.audit import audit as look_for_leaks
    from roformermil.bags.audit import enforce
    from roformermil.bags.folds import divide, write_folds
    from roformermil.sheet import read_sheet
    from roformermil.status import OK, read_status

    settings = read_settings(Folds, folds, "--folds")
    statuses = read_status(slides)
    usable = {row.slide_id for row in statuses if row.status == OK}
    names = classes.split(",")
    slides_of_sheet = read_sheet(sheet, root or sheet.parent, names, allow_absolute, files=False)
    rows = [slide for slide in slides_of_sheet if slide.slide_id in usable]
    divided = divide(out.parent.name, rows, settings, names)
    findings = look_for_leaks(divided, rows, statuses)
    rules = read_settings(Audit, audit, "--audit")
    for warning in enforce(findings, rules, settings, out.parent.name, out.with_name("audit.csv")):
        log.warning("%s", warning)
    write_folds(out, divided)


@app.command()
def train(
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    fold: Annotated[int, typer.Option(min=0, help="which of its folds")],
    features: Annotated[Path, typer.Option(help="folder of feature stores", exists=True)],
    classes: Classes,
    model: Annotated[str, typer.Option(help="a model's settings as in the config, at least {name: ...}")],
    out: Annotated[Path, typer.Option(help="folder for the model, its history and its predictions")],
    dataset: Annotated[str, typer.Option(help="the data set's name; seeds derive from it")] = "dataset",
    training: Text = "{}",
    threads: Threads = 0,
) -> None:
    """Train one fold of one model and predict its slides."""
    from roformermil.bags.folds import read_folds
    from roformermil.training import Job, train_fold

    use_machine(threads)
    job = Job(
        dataset, fold, read_folds(folds, fold), features, classes.split(","),
        read_settings(Model, model, "--model"), read_settings(Training, training, "--training"),
    )  # fmt: skip
    with alone(out):
        train_fold(job, out)


@app.command()
def evaluate(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.csv of every fold")],
    data: Annotated[list[Path], typer.Option(help="folder with slides.csv and audit.csv of every data set")],
    out: Annotated[Path, typer.Option(help="folder for metrics.csv, summary.csv, summary.md, comparisons.csv, ...")],
    config: ConfigText = "{}",
) -> None:
    """Compute every metric from the folds' predictions and write the tables."""
    from roformermil.evaluation.tables import evaluate as write_tables

    write_tables(predictions, data, out, config)


@app.command()
def figures(
    predictions: Annotated[list[Path], typer.Argument(help="predictions.csv of every fold of one data set")],
    out: Annotated[Path, typer.Option(help="folder for curves.png, calibration.png, confusion.png and history.png")],
) -> None:
    """Draw a data set's ROC and PR curves, calibration, confusion matrices and training curves."""
    from roformermil.figures.data_set import draw

    draw(predictions, out)


@app.command()
def overview(
    results: Annotated[Path, typer.Argument(help="folder that `evaluate` wrote into")],
    data: Annotated[list[Path], typer.Option(help="folder with slides.csv and audit.csv of every data set")],
) -> None:
    """Write the report's opening page, `overview.html`, and `comparisons.png`."""
    from roformermil.overview import write_overview

    write_overview(results, data)


@app.command()
def explain(
    table: Annotated[Path, typer.Argument(help="results/.../summary.csv", exists=True, dir_okay=False)],
    row: Annotated[str, typer.Option(help="a row's number, 1 below the header, or model=ro-abmil,metric=auroc")],
    slides: Annotated[
        bool, typer.Option("--slides", help="all that is known, and every slide, its features read")
    ] = False,
) -> None:
    """Walk a number back to its predictions, folds, features and slides; exit status 1 when something differs by now.

    To be called where snakemake was: paths in results are relative to it."""
    import yaml

    from roformermil.evaluation.explain import explain as walk_back
    from roformermil.evaluation.explain import in_short

    found = walk_back(table, row, read_features=slides)
    typer.echo(yaml.safe_dump(found if slides else in_short(found), sort_keys=False, allow_unicode=True, width=120))
    if found["differs"]:
        raise typer.Exit(1)
