"""From feature stores to predictions."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import Absolute, Classes, Root, Sheet, Text, Threads, use_machine

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command()
def split(
    sheet: Sheet,
    slides: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    out: Annotated[Path, typer.Option(help="folds.csv to write; leakage.csv is written beside it")],
    classes: Classes,
    root: Root = None,
    allow_absolute: Absolute = False,
    folds: Text = "{}",
    leakage: Text = "{}",
) -> None:
    """Divide the usable slides into folds, and check them for leaks."""
    from roformermil.bags.folds import assign_folds, write_folds
    from roformermil.bags.leakage import find_leaks, write_findings
    from roformermil.cohort.slide_sheet import read_slide_sheet
    from roformermil.cohort.slide_table import read_slide_table
    from roformermil.config import Folds, Leakage
    from roformermil.config.base import read_settings

    settings, on_leak = read_settings(Folds, folds, "--folds"), read_settings(Leakage, leakage, "--leakage")
    dataset, names = out.parent.name, classes.split(",")
    records = read_slide_table(slides)
    usable = {record.slide_id for record in records if record.is_ok}
    rows = read_slide_sheet(sheet, root or sheet.parent, names, allow_absolute, check_files=False)
    rows = [slide for slide in rows if slide.slide_id in usable]
    assigned = assign_folds(dataset, rows, settings, names)
    findings = find_leaks(assigned, rows, records)
    for warning in write_findings(findings, on_leak, settings, dataset, out.with_name("leakage.csv")):
        log.warning("%s", warning)
    write_folds(out, assigned)


@app.command()
def train(
    folds: Annotated[Path, typer.Option(help="folds.csv", exists=True)],
    fold: Annotated[int, typer.Option(min=0, help="which of its folds")],
    features: Annotated[Path, typer.Option(help="folder of feature stores", exists=True)],
    classes: Classes,
    model: Annotated[str, typer.Option(help="a model's settings as in the configuration, at least {name: ...}")],
    out: Annotated[Path, typer.Option(help="folder for the model, its history and its predictions")],
    dataset: Annotated[str, typer.Option(help="the data set's name, from which seeds derive")] = "dataset",
    training: Text = "{}",
    threads: Threads = 0,
) -> None:
    """Train one fold of one model and predict its slides."""
    from roformermil.bags.folds import read_folds
    from roformermil.config import Model, Training
    from roformermil.config.base import read_settings
    from roformermil.runtime.locks import exclusive
    from roformermil.training import TrainingJob, train_fold

    use_machine(threads)
    job = TrainingJob(
        dataset,
        fold,
        read_folds(folds, fold),
        features,
        classes.split(","),
        read_settings(Model, model, "--model"),
        read_settings(Training, training, "--training"),
    )
    with exclusive(out):
        train_fold(job, out)
