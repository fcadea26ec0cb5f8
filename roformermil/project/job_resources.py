"""Memory (MB) and time (minutes) that jobs ask a scheduler for. docs/cluster.md has the measurements behind them.

A job that encodes or trains resumes where it ended, so it asks for no more time at its next attempt. None asks for more than `LONGEST`.
"""

from functools import cache
from pathlib import Path

from roformermil.bags.folds import FoldRow, read_folds
from roformermil.bags.patients import slides_of_bags
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.config import Encoder, Training

LONGEST = 720  # minutes, of any job; shorter ones also start earlier
MARGIN = 2  # times the expected minutes
START = 20  # minutes: a busy file system, compiling
TYPICAL_TILES = 15_000  # of a slide whose tiles are not known yet
# tiles per second
READING = 100  # of one core, at 40x
ENCODING_CPU = 8  # of one core that reads and encodes with a ResNet-50: 8.6 GFLOPs per tile
ENCODING_CPU_LARGE = 0.5  # with one of timm: by the 120 GFLOPs of a ViT-L, not measured; larger ones take longer
ENCODING_GPU = 300  # assumed, for the largest networks
TRAINING_CPU, TRAINING_GPU = 3_000, 50_000  # one core, and what storage delivers to a GPU, assumed
# MB
READER = 500  # a process that reads tiles
TRAINING, WITH_GPU = 1500, 3000  # without the slides; CUDA's part of a process
PER_TILE = 0.1  # of a training step on a CPU
BATCHES_AHEAD = 3  # one on the GPU, two packed; besides those being read (bags/prefetch.py)
FLOAT16 = 2  # bytes per value


def bounded(minutes: float) -> int:
    """Whole minutes, at most `LONGEST`."""
    return min(LONGEST, round(minutes))


def encoding_memory(encoder: Encoder, threads: int) -> int:
    """Memory of a job that encodes tiles, read by as many processes as it has threads."""
    return encoder.memory + READER * threads


def encoding_minutes(encoder: Encoder, tile_table: Path, slides: int, threads: int, on_gpu: bool) -> int:
    """Time of encoding a batch: of its tiles where they are known, otherwise of typical slides."""
    tiles = _count_tiles(_read_table(tile_table)) if tile_table.exists() else slides * TYPICAL_TILES
    per_core = ENCODING_CPU_LARGE if encoder.is_large else ENCODING_CPU
    rate = min(ENCODING_GPU, READING * threads) if on_gpu else per_core * threads
    return bounded(START + MARGIN * tiles / rate / 60)


def training_memory(slide_table: Path, training: Training, on_gpu: bool, folds: Path | None = None) -> int:
    """Memory of a training: features that are cached, and with the largest slides, on a CPU a step, on a GPU the batches ahead.
    folds: folds.csv, where patients are bags: with the largest patients."""
    records = _read_table(slide_table) if slide_table.exists() else []
    bags = _tiles_of_bags(records, folds)
    width = max((r.values or 0 for r in records), default=0)
    cached = min(1e9 * training.cache_gb, FLOAT16 * width * sum(bags)) / 1e6
    if on_gpu:
        # Bags are read whole: `max_tiles` draws from them later.
        alive = BATCHES_AHEAD + max(4, training.readers)
        ahead = alive * FLOAT16 * width * sum(sorted(bags, reverse=True)[: training.batch_size]) / 1e6
        return round(TRAINING + cached + WITH_GPU + ahead)
    largest = sorted((min(tiles, training.max_tiles or tiles) for tiles in bags), reverse=True)
    return round(TRAINING + cached + PER_TILE * sum(largest[: training.batch_size]))


def training_minutes(
    slide_table: Path, training: Training, threads: int, on_gpu: bool, folds: Path | None = None
) -> int:
    """Time of a training with all its epochs. Most stop earlier. folds: as of `training_memory`."""
    records = _read_table(slide_table) if slide_table.exists() else []
    bags = len(_tiles_of_bags(records, folds))
    steps = training.epoch_steps * training.batch_size / max(1, bags)  # small data sets are seen several times
    tiles = training.tile_fraction * _count_tiles(records) * max(1, steps)
    rate = TRAINING_GPU if on_gpu else TRAINING_CPU * threads
    return bounded(START + MARGIN * training.epochs * tiles / rate / 60)


def _tiles_of_bags(records: list[SlideRecord], folds: Path | None) -> list[int]:
    """The tiles of each slide, or where folds.csv is given and exists of each patient."""
    tiles = {record.slide_id: record.tiles or 0 for record in records}
    if folds is None or not folds.exists():
        return list(tiles.values())
    bags = slides_of_bags(_read_folds(folds, folds.stat().st_mtime_ns), "patient")
    return [sum(tiles.get(name, 0) for name in slides) for slides in bags.values()]


@cache
def _read_folds(path: Path, modified: int) -> list[FoldRow]:
    """As `_read_once`."""
    return read_folds(path)


def _count_tiles(records: list[SlideRecord]) -> int:
    return sum(record.tiles or 0 for record in records if record.is_ok)


def _read_table(path: Path) -> list[SlideRecord]:
    return _read_once(path, path.stat().st_mtime_ns)


@cache
def _read_once(path: Path, modified: int) -> list[SlideRecord]:
    """The records of a slide table, which many jobs are planned by. modified: date of the file, since it may change."""
    return read_slide_table(path)
