"""The parts of `benchmarks/gpu.py` that measure speed and memory."""

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from epoch import write_stores
from gpu_setup import CLASSES, Rows, Sizes, guarded, make_batch, training_step
from step import bare_kernels, packed_attention, padded_attention, time_alternately

from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import FoldRow
from roformermil.bags.prefetch import prefetch_batches
from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import draw_patient, write_pyramid
from roformermil.config import Encoder, Model, Tiles, Tissue, Training
from roformermil.features.embed import Embedder
from roformermil.features.encoders import TileEncoder
from roformermil.features.tile_stream import TileStream
from roformermil.models import attention
from roformermil.runtime.gpus import best_device, repeat_exactly, resolve_precision
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.tile_table import read_tile_table
from roformermil.studies.measure import gpu_utilisation, peak_memory, reset_peak_memory
from roformermil.training import Fit, TrainingJob

MOST_MEMORY = 8.0  # GB, of a step with `Sizes.memory`
MOST_RATIO = 1.5  # of a step to the bare kernels
LEAST_BUSY = 90.0  # percent of an epoch
LEAST_SPEED = 0.9  # of `embed`, of the slower of encoder and readers
TIMEOUT = 120.0  # seconds
MODEL = {"name": "ro-abmil"}


def wait_for_gpu() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def step(sizes: Sizes, folder: Path) -> Rows:
    """Peak memory, and the time of a step packed and bag by bag, against the bare kernels and padded attention."""
    repeat_exactly()
    device = best_device()
    dtype = resolve_precision("auto", device)
    for checkpointing in (False, True):
        row = {
            "tiles": " + ".join(f"{n:,}" for n in sizes.memory),
            "what": "checkpointing" if checkpointing else "packed",
        }
        yield guarded(row, partial(_memory_of_step, sizes.memory, device, dtype, checkpointing))
    for lengths in sizes.steps:
        bags, batch = list(lengths), make_batch(lengths, device)
        packed = training_step(MODEL, batch, dtype)
        runs: dict[str, Callable[[], None]] = {
            "packed": packed,
            "packed, need not repeat exactly": partial(_any_order, packed),
            "bag by bag": partial(_bag_by_bag, training_step(MODEL, batch, dtype)),
            "attention alone, packed": packed_attention(device, bags, dtype),
            "bare kernels": partial(_any_order, bare_kernels(device, bags, dtype)),
        }
        if len(bags) > 1 and device.type == "cuda":  # `padded_attention` is in bf16
            runs["attention alone, padded with a mask"] = partial(_any_order, padded_attention(device, bags))
        yield from _time_steps(runs, lengths, sizes.rounds)


def _time_steps(runs: dict[str, Callable[[], None]], lengths: tuple[int, ...], rounds: int) -> Rows:
    usable, label = {}, " + ".join(f"{n:,}" for n in lengths)
    for name, run in runs.items():
        failed = guarded({"tiles": label, "what": name}, partial(_try, run))
        if "error" in failed:
            yield failed
        else:
            usable[name] = run
    seconds = time_alternately(usable, rounds)
    for name, values in seconds.items():
        row: dict[str, Any] = {"tiles": label, "what": name, "seconds": statistics.median(values)}
        if bare := seconds.get("bare kernels"):
            ratio = row["against bare"] = statistics.median(a / b for a, b in zip(values, bare, strict=True))
            if name == "packed" and torch.cuda.is_available():
                row |= {"goal": f"{MOST_RATIO:g}", "met": ratio <= MOST_RATIO}
        yield row


def _try(run: Callable[[], None]) -> dict[str, Any]:
    run()
    wait_for_gpu()
    return {}


def _memory_of_step(
    lengths: tuple[int, ...], device: torch.device, dtype: torch.dtype, checkpointing: bool
) -> dict[str, Any]:
    before = reset_peak_memory()
    run = training_step(MODEL, make_batch(lengths, device), dtype, checkpointing)
    run()
    run()  # now with Adam's state
    wait_for_gpu()
    gigabytes = peak_memory() - before
    row = {"peak, GB, with features and model": gigabytes}
    return row if checkpointing else row | {"goal": f"{MOST_MEMORY:g} GB", "met": gigabytes <= MOST_MEMORY}


def _bag_by_bag(run: Callable[[], None]) -> None:
    original = attention._has_packed_kernel
    attention._has_packed_kernel = lambda q: False
    try:
        run()
    finally:
        attention._has_packed_kernel = original


def _any_order(run: Callable[[], None]) -> None:
    """Run with kernels whose sums need not repeat exactly."""
    torch.set_deterministic_debug_mode("default")
    try:
        run()
    finally:
        torch.set_deterministic_debug_mode("error")


def epoch(sizes: Sizes, folder: Path) -> Rows:
    """The time of an epoch with features from disk and from memory, and for how much of it the GPU works."""
    rows = write_stores(folder, sizes.slides, sizes.tiles)
    yield {"what": "packing a batch of 4", **_packing(rows, folder)}
    for what, cache in (("features from disk", 0.0), ("features from memory", 64.0)):
        yield guarded(
            {"what": what}, partial(_epoch, rows, folder, Training(cache_gb=cache, epoch_steps=sizes.epoch_steps))
        )


def _packing(rows: list[FoldRow], folder: Path) -> dict[str, Any]:
    bags = [BagDataset(rows, folder, CLASSES)[k] for k in range(4)]
    start = time.perf_counter()
    pack(bags)
    row = {"seconds": time.perf_counter() - start}
    data = BagDataset(rows, folder, CLASSES, 64e9)
    for _ in range(2):  # the second time from memory
        start = time.perf_counter()
        batches = sum(
            1 for _ in prefetch_batches(data, [[k, k + 1, k + 2, k + 3] for k in range(0, len(rows) - 3, 4)], 4)
        )
    return row | {"readers alone, seconds per batch": (time.perf_counter() - start) / batches}


def _epoch(rows: list[FoldRow], folder: Path, training: Training) -> dict[str, Any]:
    fit = Fit(TrainingJob("synthetic", 0, rows, folder, CLASSES, Model(**MODEL), training))
    fit.epoch(0)
    wait_for_gpu()
    start = time.perf_counter()
    with gpu_utilisation() as busy:
        fit.epoch(1)
        wait_for_gpu()
    seconds = time.perf_counter() - start
    row: dict[str, Any] = {"seconds": seconds, "slides": len(rows)}
    if not torch.cuda.is_available():
        return row
    start = time.perf_counter()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        fit.epoch(2)
        wait_for_gpu()
    profiled = time.perf_counter() - start
    kernels = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    row |= {"GPU busy, % (driver)": busy(), "kernels and copies, % of the time": 100 * kernels / profiled}
    return row | {"goal": f"{LEAST_BUSY:g}% busy", "met": busy() >= LEAST_BUSY}


def encoder(sizes: Sizes, folder: Path) -> Rows:
    """Tiles per second by precision and batch size, and the error of the features."""
    image = draw_patient(0, 0)[0]
    starts = np.random.default_rng(0).integers(0, image.shape[0] - 256, (max(sizes.batches), 2))
    tiles = torch.from_numpy(np.stack([image[y : y + 256, x : x + 256] for y, x in starts]))
    few = tiles[: min(32, len(tiles))]
    plain = TileEncoder(Encoder(weights="random", compile="never", precision="fp32"))
    trunk, mean, std = plain._trunk.cpu(), plain._mean.cpu(), plain._std.cpu()
    with torch.no_grad():
        exact = trunk((few.permute(0, 3, 1, 2).float() - mean) / std)
    yield {"precision": "rounding of stores (fp16)", "relative error": relative_error(exact.half().float(), exact)}
    for precision in ("fp32", "bf16", "fp16") if torch.cuda.is_available() else ("fp32",):
        for batch in sizes.batches:
            row = {"precision": precision, "batch": batch}
            yield guarded(row, partial(_encode, precision, batch, tiles, len(few), exact, sizes.encoded))


def _encode(
    precision: str, batch: int, tiles: torch.Tensor, few: int, exact: torch.Tensor, count: int
) -> dict[str, Any]:
    encoder = TileEncoder(Encoder(weights="random", compile="never", precision=precision, batch_size=batch))
    tiles = tiles[:batch].pin_memory() if encoder.on_gpu else tiles[:batch]
    reset_peak_memory()
    error = relative_error(encoder(tiles)[:few].cpu(), exact[: len(tiles)])
    wait_for_gpu()
    start = time.perf_counter()
    waits = [encoder.start(tiles) for _ in range(-(-count // batch))]
    waits[-1]()
    speed = len(waits) * batch / (time.perf_counter() - start)
    return {"tiles/s": speed, "peak, GB": peak_memory(), "relative error": error}


def relative_error(features: torch.Tensor, exact: torch.Tensor) -> float:
    return ((features - exact).norm() / exact.norm()).item()


def embed(sizes: Sizes, folder: Path) -> Rows:
    """Tiles per second of encoder, readers and `embed`, and what its profile says."""
    image = draw_patient(0, 0)[0]
    times = -(-sizes.slide_px // len(image))
    write_pyramid(folder / "slide.tif", np.tile(image, (times, times, 1))[: sizes.slide_px, : sizes.slide_px])
    record = SlideRecord("s0", folder / "slide.tif")
    record = replace(record, **segment_slide(record, folder, Tissue()))
    record = replace(record, **tile_slide(record, folder, folder, Tiles()))
    records = [replace(record, slide_id=f"s{k}") for k in range(sizes.slide_copies)]
    for copy in records[1:]:
        shutil.copy(folder / "s0.npz", folder / f"{copy.slide_id}.npz")
    settings = Encoder(weights="random", compile="never", batch_size=sizes.batch_of_embed)
    embedder = Embedder(settings, TIMEOUT, progress=False)
    embedder.embed(records[:1], folder, folder / "first")  # loads, chooses kernels
    rates = {
        "encoder alone": _encoder_rate(embedder, sizes.encoded),
        "readers alone": _reading_rate(embedder, records, folder),
    }
    profile = embedder.profile = type(embedder.profile)(readers=embedder.readers)
    done = embedder.embed(records, folder, folder / "stores")
    rates["embed"] = profile.tiles / profile.whole
    nearer = min(rates["encoder alone"], rates["readers alone"])
    for name, rate in rates.items():
        row = {"what": name, "tiles/s": rate, "against the slower of encoder and readers": rate / nearer}
        if name == "embed":
            row |= {"goal": f"{LEAST_SPEED:g}", "met": not torch.cuda.is_available() or rate >= LEAST_SPEED * nearer}
        yield row
    yield {"what": "all slides encoded", "met": all(record.is_ok for record in done)}
    for line in profile.table().splitlines()[2:]:
        if line.startswith("|"):
            name, seconds, _ = line.strip("| ").split(" | ")
            yield {"what": f"profile: {name}", "seconds": float(seconds)}
    yield {"what": profile.verdict()}


def _encoder_rate(embedder: Embedder, count: int) -> float:
    size = embedder.encoder.batch_size
    tiles = torch.randint(0, 256, (size, 256, 256, 3), dtype=torch.uint8)
    start = time.perf_counter()
    waits = [
        embedder.encoder.start(tiles.pin_memory() if embedder.encoder.on_gpu else tiles)
        for _ in range(-(-count // size))
    ]
    waits[-1]()
    return len(waits) * size / (time.perf_counter() - start)


def _reading_rate(embedder: Embedder, records: list[SlideRecord], folder: Path) -> float:
    """Tiles per second of `embed`'s readers, whose tiles are dropped; the next slide's start while one is read."""
    streams = []

    def start_next(names: Iterator[SlideRecord]) -> None:
        if record := next(names, None):
            table = read_tile_table(folder / f"{record.slide_id}.npz")
            streams.append(TileStream(record, table.coords, table.spec, embedder.readers, TIMEOUT))

    waiting, tiles, start = iter(records), 0, time.perf_counter()
    start_next(waiting)
    while streams:
        start_next(waiting)
        with closing(streams[0]) as stream:
            tiles += sum(len(chunk.tiles) for chunk in stream)
        streams.pop(0)
    return tiles / (time.perf_counter() - start)
