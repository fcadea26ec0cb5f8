"""From slides to tiles and feature stores, and features from and for other pipelines."""

import logging
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from roformermil.cli import options
from roformermil.cohort.batches import ALL, Batch
from roformermil.cohort.outdated import embed_digest, import_digest, segment_digest, tile_digest
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import collect_tables, read_slide_table, read_slide_tables
from roformermil.config import SLIDE_TIMEOUT, Encoder, Tiles, Tissue
from roformermil.config.dataset import Source
from roformermil.config.runtime import Runtime
from roformermil.runtime.files import write_text
from roformermil.runtime.memory import share_memory

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
    epilog="Example: roformermil list-slides --sheet data/demo/slides.csv --out listed.csv. Settings: `datasets.NAME.slides`,"
    " `datasets.NAME.root`."
)
def list_slides(
    sheet: options.Sheet,
    out: Annotated[Path, typer.Option(help="slide table to write")],
    root: options.Root = None,
    allow_absolute: options.Absolute = False,
) -> None:
    """Write the slides of a slide sheet as a slide table, with which `segment` and `import` begin."""
    slides = read_slide_sheet(sheet, root or sheet.parent, allow_absolute=allow_absolute, check_files=False)
    write_text(out, Batch(ALL, tuple(slides)).table())


@app.command(
    epilog="Example: snakemake download --cores all --configfile mine.yaml, whose rule says which batch to fetch. Settings:"
    " `datasets.NAME.source`."
)
def download(
    slides: options.TableIn,
    root: Annotated[Path, typer.Option(help="folder of the data set's slides")],
    source: Annotated[Source, options.required_section(Source, "--source")],
    table: options.TableOut,
) -> None:
    """Download the slides of a batch."""
    from roformermil.cohort.download import download_slides

    options.write_exclusively(table, lambda: download_slides(options.read_first_table(slides), root, source))


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
    epilog="Example: roformermil segment listed.csv --out masks --table masks/slides.csv --tissue '{method: otsu}'."
    " Settings: `tissue`, `slide_timeout`."
)
def segment(
    slides: options.TableIn,
    out: Annotated[Path, typer.Option(help="folder for masks, outlines and polygons")],
    table: options.TableOut,
    tissue: Annotated[Tissue, options.section(Tissue, "--tissue")],
    timeout: options.Timeout = SLIDE_TIMEOUT,
    threads: Annotated[int, typer.Option(min=1, help="slides processed at once")] = 1,
    memory: options.Memory = 0,
) -> None:
    """Find the tissue of each slide of a batch."""
    from roformermil.slides.steps import segment_slides

    share_memory(memory, threads)
    work = partial(segment_slides, options.read_first_table(slides), out, tissue, timeout, threads)
    options.write_exclusively(table, work, segment_digest(tissue), finish=True)


@app.command(
    epilog="Example: roformermil weights --encoder '{weights: random}' --tissue '{}' --out weights.csv. Settings: `encoder`,"
    " `tissue`, `runtime.weights`."
)
def weights(
    encoder: Annotated[Encoder, options.section(Encoder, "--encoder")],
    tissue: Annotated[Tissue, options.section(Tissue, "--tissue")],
    out: Annotated[Path, typer.Option(help="list of what was downloaded, to write")],
) -> None:
    """Download the published weights that these settings need, so that jobs need no network."""
    from roformermil.features.published import download_published

    download_published(encoder, tissue, out)


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
    options.write_exclusively(table, work, tile_digest(tiles), finish=True)


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

    write_contact_sheet(read_slide_tables(tables), outlines, out)


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
    runtime: Annotated[Runtime, options.section(Runtime, "--runtime")],
    timeout: options.Timeout = SLIDE_TIMEOUT,
    threads: options.Threads = 0,
    memory: options.Memory = 0,
    profile: Annotated[bool, typer.Option("--profile", help="print what limited the speed")] = False,
) -> None:
    """Encode the tiles of each slide of a batch into a feature store."""
    from roformermil.features.embed import Embedder

    options.use_machine(threads)
    embedder = Embedder(encoder, timeout, scratch=runtime.scratch)
    share_memory(memory, embedder.readers, own=encoder.memory)
    work = partial(embedder.embed, read_slide_table(slides), tiles, out)
    options.write_exclusively(table, work, embed_digest(encoder), finish=True)
    if profile:
        typer.echo(embedder.profile.table())


@app.command(
    "import",
    epilog="Example: roformermil import listed_bags.csv --encoder uni --out vectors --table vectors/slides.csv."
    " Settings: `encoder`, `slide_timeout`.",
)
def import_features(
    slides: options.TableIn,
    out: Annotated[Path, typer.Option(help="folder for feature stores")],
    table: options.TableOut,
    encoder: Annotated[str, typer.Option(help="name of the encoder that made the features, for folders and tables")],
    timeout: options.Timeout = SLIDE_TIMEOUT,
    memory: options.Memory = 0,
) -> None:
    """Turn .h5 files of CLAM, TRIDENT, STAMP or alike (the paths of the slide table) into feature stores."""
    from roformermil.features.hdf5 import import_slides

    share_memory(memory, readers=1)
    work = partial(import_slides, options.read_first_table(slides), out, encoder, timeout)
    options.write_exclusively(table, work, import_digest(encoder), finish=True)


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
