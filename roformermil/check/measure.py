"""How fast this machine reads tiles, encodes them and trains, measured in seconds before hours of it."""

import logging
import math
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from roformermil.check.inspection import InspectedSlide
from roformermil.config import Config, Encoder, Model, Overhead
from roformermil.errors import SlideError, WeightsError
from roformermil.runtime.gpus import best_device
from roformermil.runtime.records import read_records
from roformermil.runtime.subprocesses import SubprocessStream
from roformermil.runtime.text import plural

ENCODER_SECONDS, MOST_SECONDS = 3.0, 20.0  # of work, in all, after which no further batch is encoded
MOST_FORMATS = 3  # of whose slides tiles are read
MOST_STEP_TILES = 1000  # of the slide that a training step is measured with
TRAINING = Overhead(repeats=8, seconds=1.0)
CHUNK = 16  # tiles
BUSY = 1.5  # processes per CPU core that want to run
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """A training step of a model with one slide: a row of `measure_model`'s table."""

    what: str  # step or inference
    tiles: int
    parameters: int
    seconds: float


@dataclass
class Speeds:
    """What was measured; None or empty where that failed or had no need."""

    reading: dict[str, float] = field(default_factory=dict)  # seconds per tile of one process, by format
    encoding: float | None = None  # seconds per tile
    values: int | None = None  # per tile
    device: str = ""  # cpu or cuda
    steps: dict[str, Step] = field(default_factory=dict)  # by id of the model; on a CPU of one core


def measure_speeds(config: Config, slides: Sequence[InspectedSlide], trains: bool) -> Speeds:
    """The speeds of this machine with these settings. trains: whether a training step is measured too."""
    log.info("measuring how fast this machine reads and encodes tiles%s", " and trains" if trains else "")
    speeds, usable = Speeds(), [slide for slide in slides if slide.record.is_ok]
    if config.encoder.is_imported:
        speeds.values = next((slide.record.values for slide in usable), None)
    elif usable:
        speeds.reading = measure_reading(usable, config.slide_timeout)
        with suppress(WeightsError):  # `check_software` or `check_weights` says why
            speeds.encoding, speeds.values, speeds.device = measure_encoder(config.encoder, config.tiles.tile_px)
    if trains and speeds.values:
        speeds.device = speeds.device or best_device().type
        tiles = min(MOST_STEP_TILES, round(statistics.median(slide.record.tiles or 1 for slide in usable)))
        measured = map(_without_covariates, config.models)
        steps = (measure_step(model, tiles, speeds.values, speeds.device) for model in measured)
        speeds.steps = dict(zip((model.id for model in config.models), steps, strict=True))
    return speeds


def measure_reading(slides: Sequence[InspectedSlide], timeout: float) -> dict[str, float]:
    """Seconds per tile that one process takes to read and resize, by format: of its slide with the median number of tiles.
    Of more formats than a few, those of most tiles."""
    formats = defaultdict(list)
    for slide in slides:
        if slide.sample:
            formats[slide.format].append(slide)
    most_tiles = sorted(formats.values(), key=lambda members: -sum(s.record.tiles or 0 for s in members))
    seconds = {}
    for members in most_tiles[:MOST_FORMATS]:
        median = sorted(members, key=lambda slide: slide.record.tiles or 0)[len(members) // 2]
        with suppress(SlideError):
            seconds[median.format] = _read_sample(median, timeout)
    return seconds


def _read_sample(slide: InspectedSlide, timeout: float) -> float:
    """Seconds per tile of reading a slide's sample, as `embed` does. Raises SlideError."""
    from roformermil.features.tile_stream import read_chunks

    assert slide.sample
    spec, coords = slide.sample
    chunks = [coords[k : k + CHUNK] for k in range(0, len(coords), CHUNK)]
    with closing(SubprocessStream(read_chunks, slide.record, chunks, spec, timeout=timeout)) as stream:
        return sum(chunk.reading + chunk.resizing for chunk in stream) / len(coords)


def measure_encoder(settings: Encoder, tile_px: int) -> tuple[float, int, str]:
    """Seconds per tile of the encoder, not compiled, in its best batch size up to that of the settings; values per tile; the
    device. Weights are random, since they do not change the speed. Raises WeightsError."""
    import torch

    from roformermil.features.encoders import TileEncoder

    encoder = TileEncoder(settings.model_copy(update={"weights": "random"}))
    seconds = _clock(encoder.device.type, torch.get_num_threads())
    values = encoder(torch.zeros(1, tile_px, tile_px, 3, dtype=torch.uint8)).cpu().shape[1]  # this loads and allocates
    count, best, start, end = 1, math.inf, seconds(), time.perf_counter() + MOST_SECONDS
    while best == math.inf or (seconds() - start < ENCODER_SECONDS and time.perf_counter() < end):
        tiles = torch.zeros(count, tile_px, tile_px, 3, dtype=torch.uint8)
        began = seconds()
        encoder(tiles).cpu()
        best = min(best, (seconds() - began) / count)
        count = min(2 * count, encoder.batch_size)
    return best, values, encoder.device.type


def _without_covariates(model: Model) -> Model:
    """The model without its covariates, which take no time worth measuring. On covariates alone: with the mean of features instead."""
    if not model.uses_features:
        return Model(name="mean-linear")
    return model.model_copy(update={"covariates": False})


def measure_step(model: Model, tiles: int, values: int, device: str) -> Step:
    """The mean of some training steps of a model with a slide of so many tiles; on a CPU with one thread, as the workflow trains."""
    import torch

    from roformermil.studies.measure import measure_model

    threads, seconds = torch.get_num_threads(), _clock(device, 1)
    if device == "cpu":
        torch.set_num_threads(1)
    start, began = time.perf_counter(), seconds()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "step.csv"
        measure_model(model, tiles, values, TRAINING, table)
        steps = [row for row in read_records(table, Step) if row.what == "step"]
    had_cores = min(1.0, (seconds() - began) / (time.perf_counter() - start))  # the rest of the time others had them
    torch.set_num_threads(threads)
    return replace(steps[0], seconds=had_cores * sum(step.seconds for step in steps) / len(steps))


def _clock(device: str, threads: int) -> Callable[[], float]:
    """A clock of work with torch. On a CPU, the time for which these threads had cores: as on an idle machine, however much
    other work there is."""
    return (lambda: time.process_time() / threads) if device == "cpu" else time.perf_counter


def cpu_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def describe_machine(speeds: Speeds) -> str:
    """The machine that was measured."""
    return plural(cpu_cores(), "CPU core") + {"cpu": " without a GPU", "cuda": " and a GPU"}.get(speeds.device, "")


def describe_load() -> str:
    """That other work slows this machine down, if it does."""
    if (load := os.getloadavg()[0]) <= BUSY * cpu_cores():
        return ""
    slowed = "tissue and reading were slower than on an idle machine; encoding and training on a CPU are estimated for an idle one"
    return f"\n\nOther work keeps this machine busy (load {load:.0f}): {slowed}."
