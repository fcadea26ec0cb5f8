"""Slides of a data set."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import (
    Absolute,
    Batch,
    BatchSize,
    Root,
    Sheet,
    TableOut,
    Text,
    records_of_batch,
    write_exclusively,
)

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command()
def demo_slides(
    folder: Annotated[Path, typer.Argument(help="where the slides and their sheet go")],
    slides: Annotated[int, typer.Option(min=2, help="number of slides, two per patient")] = 24,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draw the demo's slides and write their slide sheet."""
    from roformermil.cohort.synthetic import write_demo_slides

    log.info("%d slides listed in %s", slides, write_demo_slides(folder, slides, seed))


@app.command()
def download(
    sheet: Sheet,
    source: Text,
    table: TableOut,
    root: Root = None,
    batch: Batch = 0,
    batch_size: BatchSize = sys.maxsize,
    allow_absolute: Absolute = False,
) -> None:
    """Download the slides of a batch."""
    from roformermil.cohort.download import download_slides
    from roformermil.config import Source
    from roformermil.config.base import read_settings

    settings = read_settings(Source, source, "--source")
    records = records_of_batch(sheet, root, batch, batch_size, allow_absolute)
    write_exclusively(table, lambda: download_slides(records, root or sheet.parent, settings))


@app.command()
def collect(
    tables: Annotated[list[Path], typer.Argument(help="slide tables of `embed`")],
    out: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    max_failed_fraction: Annotated[float, typer.Option(min=0, max=1, help="of the slides; more is an error")] = 0.05,
) -> None:
    """Join a data set's slide tables; stop when too many slides are lost."""
    from roformermil.cohort.slide_table import (
        attrition_summary,
        check_failed_fraction,
        read_slide_table,
        write_slides_csv,
    )

    records = [record for table in tables for record in read_slide_table(table)]
    log.info("%s: %s", out.parent.name, attrition_summary(records))
    check_failed_fraction(records, max_failed_fraction, out)
    write_slides_csv(out, records)
