"""How fast slides become features: this pipeline against the plain loop, tiatoolbox's extractor, and the machine's limits.

    python benchmarks/embed.py [--slide FILE] [--tiles 512] [--rounds 3]

Everything is measured in turn, round by round, with the same tiles, batch size and threads: quote the ratios, since machines
are noisy. Weights are random: speed does not depend on their values. tiatoolbox is measured in the same rounds, by the Python
of the environment that `make tiatoolbox` makes, if it exists.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import openslide
import torch

from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_demo_slides
from roformermil.config import Encoder, Tiles, Tissue
from roformermil.config.encoder_specs import IMAGENET
from roformermil.features.embed import Embedder
from roformermil.features.encoders import load_trunk
from roformermil.features.tile_stream import TileStream
from roformermil.runtime.text import markdown_table
from roformermil.slides.native_tiles import NativeTiles
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.tile_table import TileTable, read_tile_table, write_tile_table
from roformermil.slides.tiles import fit_tile, read_tile, reading_order

LARGE = Path("../shared/slides/CMU-1-left-half-20x.svs")
TOOLBOX = Path(".venv-tiatoolbox/bin/python")
GFLOP = 8.56  # of ResNet-50 to layer3, per tile of 256 px
MATRIX = 2048  # rows of the matrices whose product is the machine's limit
TIMEOUT = 600.0  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, default=LARGE)
    parser.add_argument("--tiles", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--toolbox", type=Path, default=TOOLBOX, help="Python that has tiatoolbox")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.slide.exists():
            print(f"{options.slide} does not exist: measuring on a demo slide")
            options.slide = write_demo_slides(Path(folder), slides=2).parent / "demo_00.tif"
        measure(options.slide, Path(folder), options)


def measure(slide: Path, folder: Path, options: argparse.Namespace) -> None:
    record, table = tile_first(slide, folder, options.tiles)
    settings = Encoder(weights="random", batch_size=32)  # of all ways
    embedder = Embedder(settings, TIMEOUT, progress=False)
    embedder.embed([record], folder, folder / "first")  # compiles
    noise = torch.randint(0, 256, (settings.batch_size, 256, 256, 3), dtype=torch.uint8)
    count, batches, readers = len(table.coords), max(1, options.tiles // settings.batch_size), embedder.readers
    plain = plain_trunk(settings)
    a, b = torch.randn(2, MATRIX, MATRIX)
    products = int(count * GFLOP * 1e9 / (2 * MATRIX**3)) // 4

    ordered = table.coords[reading_order(table.grid)]

    def reading() -> None:
        with closing(TileStream(record, ordered, table.spec, readers, TIMEOUT)) as stream:
            for _ in stream:
                pass

    def reading_and_encoding() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            embedder.embed([record], folder, Path(out))

    ways: dict[str, tuple[Callable[[], object], float]] = {  # work, and the number of tiles that it is equivalent to
        "limit: matrix products": (lambda: [a @ b for _ in range(products)], products * 2 * MATRIX**3 / GFLOP / 1e9),
        "limit: encoder alone": (lambda: [embedder.encoder(noise) for _ in range(batches)], batches * len(noise)),
        "limit: native decoding, 1 thread": (lambda: decode(record, table), count),
        "OpenSlide alone, 1 thread": (lambda: read_with_openslide(record, table), count),
        "reading: plain loop": (lambda: [None for _ in plain_tiles(record, table)], count),
        f"reading: this pipeline, {readers} processes": (reading, count),
        "reading and encoding: plain loop": (
            lambda: plain_loop(record, table, plain, settings, count // 4),
            count // 4,
        ),
        "reading and encoding: this pipeline": (reading_and_encoding, count),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, (run, tiles) in ways.items():
            start = time.perf_counter()
            run()
            rates[name].append(tiles / (time.perf_counter() - start))
        if options.toolbox.exists():
            for name, rate in toolbox(options.toolbox, slide, table).items():
                rates.setdefault(name, []).append(rate)
    print(
        f"{slide.name}: {count} tiles, batches of {settings.batch_size}, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, {embedder.encoder.device.type}; medians of {options.rounds} rounds\n"
    )
    print(rate_table(rates))
    if not options.toolbox.exists():
        print(f"\ntiatoolbox was not measured: {options.toolbox} does not exist (make tiatoolbox)")


def rate_table(rates: dict[str, list[float]]) -> str:
    """Each rate and its ratio to each limit, as the median over rounds."""
    limits = ("matrix products", "encoder alone", "native decoding, 1 thread")
    rows = []
    for name, values in rates.items():
        pairs = [zip(values, rates[f"limit: {limit}"], strict=True) for limit in limits]
        ratios = [statistics.median(rate / limit for rate, limit in pair) for pair in pairs]
        rows.append((name, f"{statistics.median(values):.1f}", *(f"{ratio:.2f}" for ratio in ratios)))
    return markdown_table(("", "tiles/s", *(f"against {limit}" for limit in limits)), rows)


def tile_first(slide: Path, folder: Path, count: int) -> tuple[SlideRecord, TileTable]:
    """The slide's record and its first `count` tiles, whose tile table is in `folder`."""
    record = SlideRecord("slide", slide)
    record = replace(record, **segment_slide(record, folder, Tissue()))
    record = replace(record, **tile_slide(record, folder, folder, Tiles()))
    table = read_tile_table(folder / "slide.npz")
    first = {name: getattr(table, name)[:count] for name in ("grid", "coords", "tissue")}
    table = replace(table, **first)
    write_tile_table(folder / "slide.npz", table)
    return record, table


def decode(record: SlideRecord, table: TileTable) -> None:
    """Decode each of the file's JPEG tiles under these tiles once, and drop the pixels: the limit of reading. With OpenSlide where
    the level has no such tiles."""
    with SlideReader(record.path) as slide:
        directory = slide.tiff_directory(table.spec.level)
        if slide.reader == "openslide" or directory is None:
            return read_with_openslide(record, table)
        tiles = NativeTiles(record.path, directory)
        first = table.coords / slide.downsamples[table.spec.level]
        last = first + table.spec.read_px - 1
        under = np.concatenate(
            [np.stack([x, y], 1) // tiles.tile for x in (first[:, 0], last[:, 0]) for y in (first[:, 1], last[:, 1])]
        )
        for x, y in np.unique(under.astype(int), axis=0).tolist():
            tiles.read(x * tiles.tile[0], y * tiles.tile[1], 1, 1)


def read_with_openslide(record: SlideRecord, table: TileTable) -> None:
    """Read all tiles with OpenSlide, one after another, and drop the pixels."""
    side = table.spec.read_px
    with openslide.OpenSlide(record.path) as slide:
        for x, y in table.coords.tolist():
            slide.read_region((x, y), table.spec.level, (side, side))


def plain_tiles(record: SlideRecord, table: TileTable) -> Iterator[np.ndarray]:
    """One tile after another, as a script would read them."""
    with SlideReader(record.path) as slide:
        for x, y in table.coords.tolist():
            yield fit_tile(read_tile(slide, x, y, table.spec), table.spec)


def plain_trunk(settings: Encoder) -> Callable[[torch.Tensor], torch.Tensor]:
    """The trunk as torchvision has it: batch norms, channels first, normalisation as in its transforms."""
    trunk = load_trunk(settings)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)

    @torch.inference_mode()
    def run(tiles: torch.Tensor) -> torch.Tensor:
        return trunk((tiles.permute(0, 3, 1, 2).contiguous() / 255 - mean) / std)

    return run


def plain_loop(record: SlideRecord, table: TileTable, trunk: Callable, settings: Encoder, count: int) -> None:
    batch: list[np.ndarray] = []
    for k, tile in enumerate(plain_tiles(record, table), start=1):
        batch.append(tile)
        if len(batch) == settings.batch_size or k == count:
            trunk(torch.from_numpy(np.stack(batch)))
            batch = []
        if k == count:
            return


def toolbox(python: Path, slide: Path, table: TileTable) -> dict[str, float]:
    """Rates of tiatoolbox's extractor over the same tiles, by its own Python."""
    work = json.dumps({"slide": str(slide), "coords": table.coords.tolist(), "side": table.spec.tile_px})
    script = Path(__file__).with_name("toolbox_reading.py")
    result = subprocess.run([python, script], input=work, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
