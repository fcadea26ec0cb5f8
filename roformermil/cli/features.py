"""From tiles to feature stores, and stores of and for other pipelines."""

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
    Threads,
    Timeout,
    records_of_batch,
    use_machine,
    write_exclusively,
)

app = typer.Typer()


@app.command()
def embed(
    slides: TableIn,
    tiles: Annotated[Path, typer.Option(help="folder that `tile` wrote")],
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    table: TableOut,
    encoder: Text = "{}",
    timeout: Timeout = SLIDE_TIMEOUT,
    threads: Threads = 0,
    profile: Annotated[bool, typer.Option("--profile", help="print at the end what limits the speed")] = False,
) -> None:
    """Encode the tiles of each slide of a batch into a feature store."""
    from roformermil.cohort.slide_table import read_slide_table
    from roformermil.config import Encoder
    from roformermil.config.base import read_settings
    from roformermil.features.embed import Embedder

    use_machine(threads)
    embedder = Embedder(read_settings(Encoder, encoder, "--encoder"), timeout)
    write_exclusively(table, lambda: embedder.embed(read_slide_table(slides), tiles, out))
    if profile:
        typer.echo(embedder.profile.table())


@app.command("import")
def import_features(
    sheet: Sheet,
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    table: TableOut,
    encoder: Annotated[str, typer.Option(help="what made the features: a name for folders and tables")],
    root: Root = None,
    batch: Batch = 0,
    batch_size: BatchSize = sys.maxsize,
    allow_absolute: Absolute = False,
    timeout: Timeout = SLIDE_TIMEOUT,
) -> None:
    """Turn features of CLAM, TRIDENT or alike (.h5 files, the sheet's paths) into feature stores."""
    from roformermil.features.hdf5 import import_slides

    records = records_of_batch(sheet, root, batch, batch_size, allow_absolute)
    write_exclusively(table, lambda: import_slides(records, out, encoder, timeout))


@app.command()
def export(
    stores: Annotated[list[Path], typer.Argument(help="feature stores, .../{dataset}/features/{encoder}/*.zarr")],
    out: Annotated[Path, typer.Option(help="folder for .h5 files")],
) -> None:
    """Write feature stores as .h5 files that CLAM and TRIDENT read."""
    from roformermil.features.hdf5 import export_store
    from roformermil.runtime.progress import track

    for store in track(stores, desc="export", unit="slide"):
        export_store(store, out / f"{store.stem}.h5")
