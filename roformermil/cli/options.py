"""Options that several verbs have."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from roformermil.cohort.slide_table import SlideRecord

SLIDE_TIMEOUT = 600.0
Text = Annotated[str, typer.Option(help="settings as in the configuration, YAML or JSON")]
TableIn = Annotated[Path, typer.Argument(help="slide table of the stage before", exists=True, dir_okay=False)]
TableOut = Annotated[Path, typer.Option(help="slide table to write, one row per slide")]
ConfigText = Annotated[str, typer.Option(help="the configuration as JSON, kept in provenance.json")]
Sheet = Annotated[Path, typer.Option(help="slide sheet (CSV)")]
Classes = Annotated[str, typer.Option(help="class names in the order of their index, separated by commas")]
Datasets = Annotated[str, typer.Option(help="names of the data sets, separated by commas: folders of the results")]
Root = Annotated[
    Path | None, typer.Option(help="folder that the sheet's paths are relative to; by default the sheet's own")
]
Batch = Annotated[int, typer.Option(min=0, help="which batch of the sheet's rows")]
BatchSize = Annotated[int, typer.Option(min=1, show_default="all", help="rows per batch")]
Absolute = Annotated[bool, typer.Option("--allow-absolute", help="accept absolute paths in the sheet")]
Timeout = Annotated[float, typer.Option(min=0, help="seconds that reading a slide may stall")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all")]
Predictions = Annotated[list[Path], typer.Argument(help="predictions.csv of every fold", exists=True)]


def use_machine(threads: int) -> None:
    """Use this many CPU threads, and one of several GPUs."""
    from roformermil.runtime.gpus import claim_gpu

    claim_gpu()
    import torch  # after the claim

    if threads:
        torch.set_num_threads(threads)


def records_of_batch(
    sheet: Path, root: Path | None, batch: int, size: int, allow_absolute: bool
) -> "list[SlideRecord]":
    """The records that the first stage starts with. A missing file becomes a record."""
    from roformermil.cohort.batches import slides_of_batch
    from roformermil.cohort.slide_sheet import read_slide_sheet
    from roformermil.cohort.slide_table import records_from_sheet

    slides = read_slide_sheet(sheet, root or sheet.parent, allow_absolute=allow_absolute, check_files=False)
    if not (chosen := slides_of_batch(slides, batch, size)):
        raise typer.BadParameter(f"{sheet} has no batch {batch} of {size} rows")
    return records_from_sheet(chosen)


def write_exclusively(table: Path, work: "Callable[[], list[SlideRecord]]") -> None:
    """Write the slide table that `work` returns, while no other process works on it."""
    from roformermil.cohort.slide_table import write_slide_table
    from roformermil.runtime.locks import exclusive

    with exclusive(table):
        write_slide_table(table, work())
