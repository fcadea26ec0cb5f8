"""Options that several verbs have."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roformermil.cohort.slide_files import file_state
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.config import Model, Unit
from roformermil.config.base import Settings, read_settings
from roformermil.config.task import TaskName
from roformermil.errors import ConfigError
from roformermil.runtime.locks import exclusive
from roformermil.runtime.records import write_records
from roformermil.runtime.termination import finish_before_ending

if TYPE_CHECKING:
    from roformermil.tasks import Task

SECTION_HELP = "this section of the configuration, as YAML or JSON"


def required_section(settings: type[Settings], option: str, help: str = SECTION_HELP, **keywords: Any) -> Any:
    """An option whose YAML or JSON is read as these settings. Errors name the option."""
    keywords |= {"parser": lambda text: read_settings(settings, text, option), "metavar": "YAML"}
    return typer.Option(option, help=help, **keywords)


def section(settings: type[Settings], option: str) -> Any:
    """The same, where the option may be left out: all keys then have their defaults."""
    return required_section(settings, option, default_factory=settings, show_default="{}")


ModelOption = Annotated[Model, required_section(Model, "--model", "a model as in the configuration, as YAML or JSON")]
TableIn = Annotated[
    Path, typer.Argument(help="slide table of the previous stage, or of `list-slides`", exists=True, dir_okay=False)
]
TableOut = Annotated[Path, typer.Option(help="slide table to write, one row per slide")]
ConfigText = Annotated[str, typer.Option(help="the configuration as JSON, kept in provenance.json")]
Sheet = Annotated[Path, typer.Option(help="slide sheet (CSV)")]
Classes = Annotated[
    str, typer.Option(help="classes in the order of their index, separated by commas; of a classification alone")
]
TaskOption = Annotated[TaskName, typer.Option("--task", help="what is predicted")]
Datasets = Annotated[str, typer.Option(help="names of the data sets (folders of the results), separated by commas")]
Root = Annotated[Path | None, typer.Option(help="folder of the slide sheet's paths; by default the sheet's own folder")]
Absolute = Annotated[bool, typer.Option("--allow-absolute", help="accept absolute paths in the slide sheet")]
Timeout = Annotated[float, typer.Option(min=0, help="seconds that reading a slide may stall")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all")]
Memory = Annotated[int, typer.Option(min=0, help="MB that the processes reading slides share; 0: all of the machine's")]
Predictions = Annotated[list[Path], typer.Argument(help="predictions.csv of every fold", exists=True)]
UnitOption = Annotated[
    Unit, typer.Option("--unit", help="what a bag is: a slide, or all slides of a patient, who have one label")
]
Covariates = Annotated[
    Path | None,
    typer.Option("--covariates", help="covariates.csv beside folds.csv, for a model that uses them", exists=True),
]
Features = Annotated[Path, typer.Option(help="folder of feature stores", exists=True)]


def given_task(name: TaskName, classes: str) -> "Task":
    """The task of the options --task and --classes. Raises ConfigError where they do not fit."""
    from roformermil.tasks import make_task  # numpy

    task = make_task(name, names := [one for one in classes.split(",") if one])
    if list(task.classes) != names:
        raise ConfigError(f"--task {name} has no classes: leave out --classes")
    return task


def use_machine(threads: int) -> None:
    """Use this many CPU threads, and one of several GPUs."""
    from roformermil.runtime.gpus import claim_gpu

    claim_gpu()
    import torch  # after the claim

    if threads:
        torch.set_num_threads(threads)


def read_first_table(table: Path) -> list[SlideRecord]:
    """The records before a data set's first stage, with the size and date of each file. A missing file is no error."""
    return [replace(record, **file_state(record.path)) for record in read_slide_table(table)]


def write_exclusively(
    table: Path, work: Callable[[], list[SlideRecord]], settings: str = "", finish: bool = False
) -> None:
    """Write the slide table that `work` returns, with the digest of the stage's settings, under a lock.

    finish: whether after SIGTERM the work finishes the slides in hand. While it waits for another run it ends at once.
    """
    with exclusive(table):
        if finish:
            finish_before_ending()
        write_records(table, [replace(record, settings=settings) for record in work()])
