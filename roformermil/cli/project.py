"""A project begun from a folder of slides, and its run; descriptions of a configuration."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from roformermil import __version__
from roformermil.config import reference
from roformermil.config.task import TaskName

app = typer.Typer()
INIT_EPILOG = """Example: roformermil init /data/slides --labels labels.xlsx

The table's columns may have any names: one has slide ids, file names or
patients, another the labels. With --task survival these are two, a time and
an event.

Settings that OUT.yaml states, each with its reason: `datasets`, `task` (not of
classes), `results`, `tiles`, `encoder`, `folds`, `models`,
`max_failed_fraction`. More: docs/own.md"""
RUN_EPILOG = """Example: roformermil run mine.yaml tissue --cores 4

Targets: `tissue` (outlines to look at), `features`, `all` (by default),
`ablation`, `overhead`, `search`, `download`. Options: snakemake --help.

It follows all keys of the configuration: docs/reference.md"""


@app.command(epilog=INIT_EPILOG)
def init(
    folder: Annotated[Path, typer.Argument(help="folder of slides; its sub-folders are searched too")],
    labels: Annotated[Path | None, typer.Option(help="table of labels: CSV or Excel workbook (.xlsx)")] = None,
    out: Annotated[Path, typer.Option(help="name of the data set, of OUT.csv and OUT.yaml")] = Path("mine"),
    label_column: Annotated[
        list[str] | None,
        typer.Option(
            help="the column of the table that has the labels; for survival twice, the time's and the event's"
        ),
    ] = None,
    label_folders: Annotated[
        bool, typer.Option("--label-folders", help="take the names of FOLDER's sub-folders as labels")
    ] = False,
    patients: Annotated[
        Literal["auto", "folders", "slides"],
        typer.Option(
            help="who the patients are: the slides' folders; each slide its own; or determined from barcodes and folders"
        ),
    ] = "auto",
    task: Annotated[
        TaskName | None,
        typer.Option(
            help="what is predicted: a class, the time to an event, or a number; by default that of OUT.yaml, or else a class"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace OUT.csv and OUT.yaml where they exist")] = False,
) -> None:
    """Begin from a folder of slides: write its slide sheet and a commented configuration, and say what is left to fill in."""
    from roformermil.project.begin import Choices, begin
    from roformermil.project.begin_text import describe_project

    if label_folders and (labels or label_column):
        raise typer.BadParameter("give either --labels or --label-folders")
    if label_column and not labels:
        raise typer.BadParameter("--label-column needs --labels")
    if label_folders and task not in (None, "classification"):
        raise typer.BadParameter(f"--label-folders gives classes, not what --task {task} needs: give --labels")
    out = out.with_suffix("") if out.suffix in (".csv", ".yaml", ".yml") else out
    choices = Choices(labels, label_column or (), label_folders, patients, task)
    typer.echo(describe_project(begin(folder, out, choices, force)))


@app.command(epilog=RUN_EPILOG, context_settings={"ignore_unknown_options": True})
def run(
    config: Annotated[Path, typer.Argument(help="configuration file")],
    arguments: Annotated[list[str] | None, typer.Argument(help="targets and options of snakemake")] = None,
) -> None:
    """Run the workflow, on all cores unless told otherwise. A run that was stopped resumes."""
    from roformermil.project.workflow import run_workflow

    run_workflow(config, arguments or [])


@app.command(
    epilog="Example: roformermil schema --markdown, the text of docs/reference.md. Settings: none; it describes all of"
    " them."
)
def schema(markdown: Annotated[bool, typer.Option("--markdown", help="print Markdown tables")] = False) -> None:
    """Print the JSON schema of the configuration."""
    typer.echo(reference.config_reference() if markdown else reference.config_schema(), nl=False)


@app.command(epilog="Example: roformermil version. Settings: none.")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
