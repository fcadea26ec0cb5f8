"""Does reading keep up with training? An epoch over synthetic feature stores, and how fast stores are read.

    python benchmarks/epoch.py [--slides 1000] [--tiles 10000] [--readers 4]

With a GPU: the fraction of an epoch's time that the GPU is busy, as its driver reports it. In any case: slides that the
loader reads per second, by number of threads, against a plain loop. 1,000 slides of 10,000 tiles take 20 GB of disk.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from roformermil.bags.dataset import BagDataset
from roformermil.bags.folds import FoldRow
from roformermil.bags.prefetch import prefetch_batches
from roformermil.config import Model, Training
from roformermil.features.store import read_store, write_store
from roformermil.runtime.text import markdown_table
from roformermil.studies.measure import gpu_utilisation
from roformermil.training import Fit, TrainingJob

CLASSES = ["a", "b"]


def main() -> None:
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000 if gpu else 24)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--readers", type=int, default=min(16, 2 * (os.cpu_count() or 1)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = write_stores(Path(folder), options.slides, options.tiles)
        measure_reading(rows, Path(folder), options.tiles)
        if not gpu:
            print("\nNo GPU here: GPU use during an epoch was not measured.")
            return
        training = Training(cache_gb=0, readers=options.readers)
        fit = Fit(TrainingJob("synthetic", 0, rows, Path(folder), CLASSES, Model(name="ro-abmil"), training))
        start = time.perf_counter()
        with gpu_utilisation() as busy:
            fit.epoch(0)
        seconds = time.perf_counter() - start
        print(
            f"\n{torch.cuda.get_device_name()}: an epoch of {options.slides} slides of {options.tiles:,} tiles took "
            f"{seconds:.1f} s with {options.readers} readers; GPU busy {busy():.0f}% of the time"
        )


def write_stores(folder: Path, slides: int, tiles: int) -> list[FoldRow]:
    """Write stores of noise, which does not compress: the worst case. A fifth of the slides is for validation."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.divmod(np.arange(tiles), 100), axis=1)
    rows = []
    for k in range(slides):
        write_store(folder / f"s{k}.zarr", rng.standard_normal((tiles, 1024), dtype=np.float32), grid * 256, grid, {})
        rows.append(FoldRow(0, f"s{k}", f"s{k}", CLASSES[k % 2], "validation" if k % 10 < 2 else "train"))
    return rows


def measure_reading(rows: list[FoldRow], folder: Path, tiles: int) -> None:
    """Print slides read per second, from the page cache: decompression and Python, not the disk."""
    rows = rows[:200]
    start = time.perf_counter()
    for row in rows:
        read_store(folder / f"{row.slide_id}.zarr")
    plain = len(rows) / (time.perf_counter() - start)
    table = [("plain loop", f"{plain:.1f}", "1.00")]
    for readers, size in ((1, 1), (2, 1), (4, 1), (8, 1), (4, 4)):
        data = BagDataset(rows, folder, CLASSES)
        groups = [list(range(len(rows)))[start : start + size] for start in range(0, len(rows), size)]
        start = time.perf_counter()
        for _ in prefetch_batches(data, groups, readers, pinned=torch.cuda.is_available()):
            pass
        rate = len(rows) / (time.perf_counter() - start)
        table.append((f"loader, {readers} readers, batches of {size}", f"{rate:.1f}", f"{rate / plain:.2f}"))
    print(f"Slides of {tiles:,} tiles, {os.cpu_count()} cores\n")
    print(markdown_table(("", "slides/s", "against the loop"), table))


if __name__ == "__main__":
    main()
