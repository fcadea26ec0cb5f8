"""How fast `embed` is, against the encoder alone, the plain eager trunk and decoding alone.

    python benchmarks/embed.py [--slide FILE] [--tiles 512] [--rounds 3]

Everything is measured in turn, round by round, with the same batch size and threads: quote the ratios, machines are
noisy. Weights are random: speed does not depend on their values.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from roformermil.config import Encoder, Tiles, Tissue
from roformermil.demo import write_demo
from roformermil.features.encoders import IMAGENET_MEAN, IMAGENET_STD, load_trunk
from roformermil.features.extract import Embedder, stream_tiles
from roformermil.slides.reader import SlideReader
from roformermil.slides.stages import read_tiles, segment_slide, tile_slide
from roformermil.slides.tiles import tile_spec
from roformermil.status import Status

LARGE = Path("../shared/slides/CMU-1-left-half-20x.svs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, default=LARGE)
    parser.add_argument("--tiles", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.slide.exists():
            print(f"{options.slide} is not there: measuring on a demo slide")
            options.slide = write_demo(Path(folder), slides=2).parent / "demo_00.tif"
        measure(options.slide, Path(folder), options.tiles, options.rounds)


def measure(slide: Path, folder: Path, tiles: int, rounds: int) -> None:
    row = Status("slide", str(slide))
    row = Status("slide", str(slide), mpp=segment_slide(row, folder, Tissue())["mpp"])
    tile_slide(row, folder, folder, Tiles())
    table = folder / "slide.npz"
    with np.load(table) as whole:
        cut = {name: whole[name] if name == "info" else whole[name][:tiles] for name in whole.files}
    np.savez(table, **cut)
    coords = read_tiles(table).coords
    settings = Encoder(weights="random")
    embedder = Embedder(settings, progress=False)
    noise = torch.randint(0, 256, (settings.batch_size, 256, 256, 3), dtype=torch.uint8)
    batches = max(1, len(coords) // settings.batch_size)
    plain = plain_loop(settings)

    ways = {
        "plain eager trunk": (lambda: plain(noise), batches // 4 or 1),
        "encoder alone": (lambda: embedder.encoder(noise), batches),
        "decoding alone": (lambda: decode(row, coords, settings), 0),
        "embed": (lambda: embed(embedder, row, folder), 0),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (run, times) in ways.items():
            start = time.perf_counter()
            for _ in range(times or 1):
                run()
            count = times * settings.batch_size or len(coords)
            rates[name].append(count / (time.perf_counter() - start))
    print(f"{slide.name}: {len(coords)} tiles, batches of {settings.batch_size}, {torch.get_num_threads()} threads, "
          f"torch {torch.__version__}, {embedder.encoder.device.type}; medians of {rounds} rounds\n")  # fmt: skip
    print("| | tiles/s | against the plain trunk | against the encoder alone |\n|---|---|---|---|")
    for name, values in rates.items():
        ratios = [statistics.median(a / b for a, b in zip(values, rates[base], strict=True))
                  for base in ("plain eager trunk", "encoder alone")]  # fmt: skip
        print(f"| {name} | {statistics.median(values):.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def plain_loop(settings: Encoder):
    """The trunk as torchvision has it: batch norms, channels first, normalisation as in its transforms."""
    trunk = load_trunk(settings)
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)

    @torch.inference_mode()
    def run(tiles: torch.Tensor) -> torch.Tensor:
        return trunk((tiles.permute(0, 3, 1, 2).contiguous() / 255 - mean) / std)

    return run


def decode(row: Status, coords: np.ndarray, settings: Encoder) -> None:
    with SlideReader(row.path) as reader:
        spec = tile_spec(reader, Tiles())
    for _ in stream_tiles(row, coords, spec, settings.batch_size):
        pass


def embed(embedder: Embedder, row: Status, folder: Path) -> None:
    """The whole stage for a slide, store and all, into a fresh folder so that nothing is skipped."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        embedder.embed_slide(row, folder, Path(out))


if __name__ == "__main__":
    main()
