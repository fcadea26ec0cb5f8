"""From slides to tiles and feature stores, and features from and for other pipelines."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli import options
from roformermil.cohort.outdated import embed_digest, import_digest, segment_digest, tile_digest
from roformermil.cohort.slide_table import collect_tables, read_slide_table
from roformermil.config import SLIDE_TIMEOUT, Encoder, Tiles, Tissue
from roformermil.config.dataset import Source
from roformermil.runtime.memory import WITH_TORCH, share_memory

app = typer.Typer()
log = logging.getLogger("roformermil")


@app.command(epilog="Example: roformermil demo-slides drawn --slides 4. Settings: none.")
def demo_slides(
    folder: Annotated[Path, typer.Argument(help="folder for the slides and their slide sheet")],
    slides: Annotated[int, typer.Option(min=2, help="number of slides, two per patient")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="seed of the drawings")] = 0,
) -> None:
    """Draw the demo's slides and write their slide sheet."""
    from roformermil.cohort.synthetic import write_demo_slides

    log.info("%d slides listed in %s", slides, write_demo_slides(folder, slides, seed))


@app.command(
    epilog="Example: snakemake download --cores all --configfile mine.yaml, whose rule says which batch to fetch. Settings:"
    " `datasets.NAME.source`."
)
def download(
    sheet: options.Sheet,
    source: Annotated[Source, options.required_section(Source, "--source")],
    table: options.TableOut,
    root: options.Root = None,
    batch: options.Batch = 0,
    batch_size: options.BatchSize = sys.maxsize,
    allow_absolute: options.Absolute = False,
) -> None:
    """Download the slides of a batch."""
    from roformermil.cohort.download import download_slides

    records = options.records_of_batch(sheet, root, batch, batch_size, allow_absolute)
    options.write_exclusively(table, lambda: download_slides(records, root or sheet.parent, source))


@app.command(
    epilog="Example: roformermil collect results/demo/features/resnet50-random/batch_*.csv --out"
    " results/demo/joined.csv. Settings: `max_failed_fraction`."
)
def collect(
    tables: Annotated[list[Path], typer.Argument(help="slide tables of `tile` or `embed`")],
    out: Annotated[Path, typer.Option(help="slide table to write, in the data set's folder")],
    max_failed_fraction: Annotated[float, typer.Option(min=0, max=1, help="largest fraction of lost slides")] = 0.05,
) -> None:
    """Join a data set's slide tables; stop when too many slides are lost, or their features differ in width."""
    collect_tables(tables, out, max_failed_fraction)


@app.command(
    epilog="Example: roformermil segment --sheet data/demo/slides.csv --out masks --table masks/slides.csv --tissue"
    " '{method: otsu}' --batch-size 4. Settings: `tissue`, `slide_timeout`."
)
def segment(
    sheet: options.Sheet,
    out: Annotated[Path, typer.Option(help="folder for masks, outlines and polygons")],
    table: options.TableOut,
    tissue: Annotated[Tissue, options.section(Tissue, "--tissue")],
    root: options.Root = None,
    batch: options.Batch = 0,
    batch_size: options.BatchSize = sys.maxsize,
    allow_absolute: options.Absolute = False,
    timeout: options.Timeout = SLIDE_TIMEOUT,
    threads: Annotated[int, typer.Option(min=1, help="slides processed at once")] = 1,
    memory: options.Memory = 0,
) -> None:
    """Find the tissue of each slide of a batch."""
    from roformermil.slides.steps import segment_slides

    share_memory(memory, threads)
    records = options.records_of_batch(sheet, root, batch, batch_size, allow_absolute)
    work = partial(segment_slides, records, out, tissue, timeout, threads)
    options.write_exclusively(table, work, segment_digest(tissue))


@app.command(
    epilog="Example: roformermil tile masks/slides.csv --masks masks --out tiles --table tiles/slides.csv --tiles"
    " '{target_mpp: 1.0}'. Settings: `tiles`, `slide_timeout`."
)
def tile(
    slides: options.TableIn,
    masks: Annotated[Path, typer.Option(help="folder that `segment` wrote")],
    out: Annotated[Path, typer.Option(help="folder for tile tables")],
    table: options.TableOut,
    tiles: Annotated[Tiles, options.section(Tiles, "--tiles")],
    timeout: options.Timeout = SLIDE_TIMEOUT,
    memory: options.Memory = 0,
) -> None:
    """Lay the grid of tiles over each segmented slide of a batch."""
    from roformermil.slides.steps import tile_slides

    share_memory(memory, readers=1)
    work = partial(tile_slides, read_slide_table(slides), masks, out, tiles, timeout)
    options.write_exclusively(table, work, tile_digest(tiles))


@app.command(
    epilog="Example: roformermil contact-sheet tiles/slides.csv --outlines masks --out outlines.jpg. Settings: none."
)
def contact_sheet(
    tables: Annotated[list[Path], typer.Argument(help="slide tables of `tile`", exists=True, dir_okay=False)],
    outlines: Annotated[Path, typer.Option(help="folder that `segment` wrote")],
    out: Annotated[Path, typer.Option(help="picture to write (JPEG); an HTML page is written beside it")],
) -> None:
    """Draw the tissue outlines of a whole data set on one contact sheet."""
    from roformermil.slides.contact_sheet import write_contact_sheet

    write_contact_sheet([record for table in tables for record in read_slide_table(table)], outlines, out)


@app.command(
    epilog="Example: roformermil embed tiles/slides.csv --tiles tiles --out vectors --table vectors/slides.csv --encoder"
    " '{weights: random}' --profile. Settings: `encoder`, `slide_timeout`."
)
def embed(
    slides: options.TableIn,
    tiles: Annotated[Path, typer.Option(help="folder that `tile` wrote")],
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    table: options.TableOut,
    encoder: Annotated[Encoder, options.section(Encoder, "--encoder")],
    timeout: options.Timeout = SLIDE_TIMEOUT,
    threads: options.Threads = 0,
    memory: options.Memory = 0,
    profile: Annotated[bool, typer.Option("--profile", help="print what limited the speed")] = False,
) -> None:
    """Encode the tiles of each slide of a batch into a feature store."""
    from roformermil.features.embed import Embedder

    options.use_machine(threads)
    embedder = Embedder(encoder, timeout)
    share_memory(memory, embedder.readers, own=WITH_TORCH)
    work = partial(embedder.embed, read_slide_table(slides), tiles, out)
    options.write_exclusively(table, work, embed_digest(encoder))
    if profile:
        typer.echo(embedder.profile.table())


@app.command(
    "import",
    epilog="Example: roformermil import --sheet bags.csv --encoder uni --out vectors --table vectors/slides.csv."
    " Settings: `encoder`, `slide_timeout`.",
)
def import_features(
    sheet: options.Sheet,
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    table: options.TableOut,
    encoder: Annotated[str, typer.Option(help="name of the encoder that made the features, for folders and tables")],
    root: options.Root = None,
    batch: options.Batch = 0,
    batch_size: options.BatchSize = sys.maxsize,
    allow_absolute: options.Absolute = False,
    timeout: options.Timeout = SLIDE_TIMEOUT,
    memory: options.Memory = 0,
) -> None:
    """Turn .h5 files of CLAM, TRIDENT, STAMP or alike (the paths of the slide sheet) into feature stores."""
    from roformermil.features.hdf5 import import_slides

    share_memory(memory, readers=1)
    records = options.records_of_batch(sheet, root, batch, batch_size, allow_absolute)
    work = partial(import_slides, records, out, encoder, timeout)
    options.write_exclusively(table, work, import_digest(encoder))


@app.command(
    epilog="Example: roformermil export results/demo/features/resnet50-random/*.zarr --out h5. Settings: none."
)
def export(
    stores: Annotated[list[Path], typer.Argument(help="feature stores, .../{dataset}/features/{encoder}/*.zarr")],
    out: Annotated[Path, typer.Option(help="folder for .h5 files")],
) -> None:
    """Write feature stores as .h5 files that CLAM and TRIDENT read."""
    from roformermil.features.hdf5 import export_stores

    export_stores(stores, out)
