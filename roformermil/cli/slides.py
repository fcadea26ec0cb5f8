"""From slides to feature stores."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roformermil.cli.options import (
    Absolute,
    Batch,
    BatchSize,
    Root,
    Sheet,
    StatusIn,
    StatusOut,
    Text,
    Threads,
    Timeout,
    use_machine,
)
from roformermil.config import Encoder, Source, Tiles, Tissue
from roformermil.files import alone
from roformermil.settings import read_settings

if TYPE_CHECKING:
    from roformermil.status import Status

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command()
def download(
    sheet: Sheet,
    source: Text,
    status: StatusOut,
    root: Root = None,
    batch: Batch = 0,
    batch_size: BatchSize = sys.maxsize,
    allow_absolute: Absolute = False,
) -> None:
    """Bring the slides of a batch to this machine."""
    from roformermil.download import download as bring
    from roformermil.status import write_status

    settings = read_settings(Source, source, "--source")
    rows = rows_of_batch(sheet, root, batch, batch_size, allow_absolute)
    with alone(status):
        write_status(status, bring(rows, root or sheet.parent, settings))


@app.command()
def segment(
    sheet: Sheet,
    out: Annotated[Path, typer.Option(help="folder for masks, outlines and polygons")],
    status: StatusOut,
    root: Root = None,
    batch: Batch = 0,
    batch_size: BatchSize = sys.maxsize,
    tissue: Text = "{}",
    allow_absolute: Absolute = False,
    timeout: Timeout = 600,
    threads: Annotated[int, typer.Option(min=1, help="slides in hand at once")] = 1,
) -> None:
    """Find the tissue of each slide of a batch."""
    from roformermil.isolation import isolated
    from roformermil.slides.stages import segment_slide, settings_of, slide_content
    from roformermil.status import run_stage, write_status

    settings = read_settings(Tissue, tissue, "--tissue")
    rows = rows_of_batch(sheet, root, batch, batch_size, allow_absolute)
    for row in rows:
        settings_of(row, settings)  # a slide's own settings that do not go together end this before it begins
    with alone(status):
        done = run_stage(
            "segment",
            rows,
            lambda row: isolated(segment_slide, row, out, settings, timeout=timeout),
            threads,
            identify=lambda row: isolated(slide_content, row, timeout=timeout),
        )
        write_status(status, done)


@app.command()
def tile(
    slides: StatusIn,
    masks: Annotated[Path, typer.Option(help="folder that `segment` wrote")],
    out: Annotated[Path, typer.Option(help="folder for tile tables")],
    status: StatusOut,
    tiles: Text = "{}",
    timeout: Timeout = 600,
) -> None:
    """Lay the grid of tiles over each segmented slide of a batch."""
    from roformermil.isolation import isolated
    from roformermil.slides.stages import tile_slide
    from roformermil.status import read_status, run_stage, write_status

    settings = read_settings(Tiles, tiles, "--tiles")
    rows = read_status(slides)
    with alone(status):
        done = run_stage("tile", rows, lambda row: isolated(tile_slide, row, masks, out, settings, timeout=timeout))
        write_status(status, done)


@app.command()
def contact(
    slides: Annotated[list[Path], typer.Argument(help="status tables of `tile`", exists=True, dir_okay=False)],
    outlines: Annotated[Path, typer.Option(help="folder that `segment` wrote")],
    out: Annotated[Path, typer.Option(help="contact sheet to write (JPEG)")],
) -> None:
    """Show the tissue outlines of a whole data set on one sheet."""
    from roformermil.slides.contact import contact_sheet
    from roformermil.status import read_status

    contact_sheet([row for table in slides for row in read_status(table)], outlines, out)


@app.command()
def embed(
    slides: StatusIn,
    tables: Annotated[Path, typer.Option(help="folder that `tile` wrote")],
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    status: StatusOut,
    encoder: Text = "{}",
    timeout: Timeout = 600,
    threads: Threads = 0,
    profile: Annotated[bool, typer.Option("--profile", help="say at the end what bounds the run")] = False,
) -> None:
    """Encode the tiles of each slide of a batch into a feature store."""
    from roformermil.features.extract import Embedder
    from roformermil.status import read_status, write_status

    use_machine(threads)
    embedder = Embedder(read_settings(Encoder, encoder, "--encoder"), timeout)
    with alone(status):
        write_status(status, embedder.embed(read_status(slides), tables, out))
    if profile:
        typer.echo(embedder.profile.table())


@app.command("import")
def import_features(
    sheet: Sheet,
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    status: StatusOut,
    encoder: Annotated[str, typer.Option(help="what made the features: a name for folders and tables")],
    root: Root = None,
    batch: Batch = 0,
    batch_size: BatchSize = sys.maxsize,
    allow_absolute: Absolute = False,
    timeout: Timeout = 600,
) -> None:
    """Take features of CLAM, TRIDENT or alike (.h5 files, the sheet's paths) into feature stores."""
    from roformermil.features.exchange import import_slide
    from roformermil.isolation import isolated
    from roformermil.slides.stages import slide_content
    from roformermil.status import run_stage, write_status

    rows = rows_of_batch(sheet, root, batch, batch_size, allow_absolute)
    with alone(status):
        done = run_stage(
            "import",
            rows,
            lambda row: isolated(import_slide, row, out, encoder, timeout=timeout),
            identify=lambda row: isolated(slide_content, row, timeout=timeout),
        )
        write_status(status, done)


@app.command()
def export(
    stores: Annotated[list[Path], typer.Argument(help="feature stores, .../{dataset}/features/{encoder}/*.zarr")],
    out: Annotated[Path, typer.Option(help="folder for .h5 files")],
) -> None:
    """Write feature stores as .h5 files that CLAM and TRIDENT read."""
    from roformermil.features.exchange import export_store
    from roformermil.progress import track

    for store in track(stores, desc="export", unit="slide"):
        export_store(store, out / f"{store.stem}.h5")


@app.command()
def collect(
    batches: Annotated[list[Path], typer.Argument(help="status tables of `embed`")],
    out: Annotated[Path, typer.Option(help="the data set's slides.csv")],
    max_failed_fraction: Annotated[float, typer.Option(min=0, max=1, help="of the slides; more is an error")] = 0.05,
) -> None:
    """Join a data set's status tables; stop when too many slides are missing."""
    from roformermil.status import attrition, check_attrition, read_status, write_slides

    rows = [row for batch in batches for row in read_status(batch)]
    log.info("%s: %s", out.parent.name, attrition(rows))
    check_attrition(rows, max_failed_fraction, out)
    write_slides(out, rows)


def rows_of_batch(sheet: Path, root: Path | None, batch: int, size: int, allow_absolute: bool) -> "list[Status]":
    from roformermil.sheet import read_sheet
    from roformermil.status import from_sheet

    slides = read_sheet(
        sheet, root or sheet.parent, allow_absolute=allow_absolute, files=False
    )  # a row says so instead
    if not (rows := from_sheet(slides[batch * size : (batch + 1) * size])):
        raise typer.BadParameter(f"{sheet} has no batch {batch} of {size} rows")
    return rows
