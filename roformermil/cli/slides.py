"""From slides to tiles."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli.options import (
    SLIDE_TIMEOUT,
    Absolute,
    Batch,
    BatchSize,
    Root,
    Sheet,
    TableIn,
    TableOut,
    Text,
    Timeout,
    records_of_batch,
    write_exclusively,
)

app = typer.Typer()


@app.command()
def segment(
    sheet: Sheet,
    out: Annotated[Path, typer.Option(help="folder for masks, outlines and polygons")],
    table: TableOut,
    root: Root = None,
    batch: Batch = 0,
    batch_size: BatchSize = sys.maxsize,
    tissue: Text = "{}",
    allow_absolute: Absolute = False,
    timeout: Timeout = SLIDE_TIMEOUT,
    threads: Annotated[int, typer.Option(min=1, help="slides processed at once")] = 1,
) -> None:
    """Find the tissue of each slide of a batch."""
    from roformermil.config import Tissue
    from roformermil.config.base import read_settings
    from roformermil.slides.steps import segment_slides

    settings = read_settings(Tissue, tissue, "--tissue")
    records = records_of_batch(sheet, root, batch, batch_size, allow_absolute)
    write_exclusively(table, lambda: segment_slides(records, out, settings, timeout, threads))


@app.command()
def tile(
    slides: TableIn,
    masks: Annotated[Path, typer.Option(help="folder that `segment` wrote")],
    out: Annotated[Path, typer.Option(help="folder for tile tables")],
    table: TableOut,
    tiles: Text = "{}",
    timeout: Timeout = SLIDE_TIMEOUT,
) -> None:
    """Lay the grid of tiles over each segmented slide of a batch."""
    from roformermil.cohort.slide_table import read_slide_table
    from roformermil.config import Tiles
    from roformermil.config.base import read_settings
    from roformermil.slides.steps import tile_slides

    settings = read_settings(Tiles, tiles, "--tiles")
    write_exclusively(table, lambda: tile_slides(read_slide_table(slides), masks, out, settings, timeout))


@app.command()
def contact_sheet(
    tables: Annotated[list[Path], typer.Argument(help="slide tables of `tile`", exists=True, dir_okay=False)],
    outlines: Annotated[Path, typer.Option(help="folder that `segment` wrote")],
    out: Annotated[Path, typer.Option(help="picture to write (JPEG); an HTML page is written beside it")],
) -> None:
    """Draw the tissue outlines of a whole data set on one contact sheet."""
    from roformermil.cohort.slide_table import read_slide_table
    from roformermil.slides.contact_sheet import write_contact_sheet

    write_contact_sheet([record for table in tables for record in read_slide_table(table)], outlines, out)
