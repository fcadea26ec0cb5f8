"""Disk and hours that a run will take."""

import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from roformermil.check.dataset import CheckedDataset
from roformermil.check.inspection import InspectedSlide
from roformermil.check.measure import Speeds, Step, cpu_cores, describe_load, describe_machine, measure_speeds
from roformermil.check.problems import Problem
from roformermil.config import Config, Model
from roformermil.runtime.text import aligned_table, duration, file_size, plural, two_digits

BYTES_PER_VALUE = 2  # float16; compression saves little
BYTES_PER_SLIDE = 200e3  # mask, outline, polygons, tile table
BYTES_PER_HEATMAP = 2e6
BYTES_PER_PARAMETER = 4
COPIES = 2  # of a trained model: the fold's and the packaged one's
BACKWARD = 2  # times the forward pass
Row = tuple[str, str, str]  # what, how much, for what


@dataclass(frozen=True)
class Estimate:
    """What a run from the beginning takes on this machine."""

    machine: str
    rows: list[Row]
    disk: float = 0.0  # bytes; 0 where it is not known

    def __str__(self) -> str:
        table = aligned_table(self.rows[0], self.rows[1:])
        return f"A run from the beginning on this machine ({self.machine}) takes about:\n\n{table}" + describe_load()


def estimate_run(config: Config, datasets: Sequence[CheckedDataset], measure: bool = True) -> Estimate | None:
    """The time and disk of a run from its beginning; None where no slide can be used.

    measure: whether to measure this machine's speeds, which takes seconds; without, only tissue and tiles are known.
    """
    usable = [slide for dataset in datasets for slide in dataset.slides if slide.record.is_ok]
    if not usable:
        return None
    trained = [dataset for dataset in datasets if dataset.folds]
    speeds = measure_speeds(config, usable, trains=bool(trained)) if measure else Speeds()
    rows = [_preparation_row(config, usable), *_encoding_row(config, usable, speeds)]
    if trained and speeds.steps:
        rows.append(_training_row(config, trained, speeds))
    if not speeds.values:
        return Estimate(describe_machine(speeds), rows)
    sizes = _disk(config, usable, trained, speeds)
    parts = ", ".join(f"{name} {file_size(size)}" for name, size in sizes.items() if size)
    free = f"{file_size(_free(config.results))} are free at {config.results.absolute()}"
    rows.append(("disk", file_size(total := sum(sizes.values())), f"{parts}; {free}"))
    return Estimate(describe_machine(speeds), rows, total)


def check_disk(config: Config, estimate: Estimate) -> Iterator[Problem]:
    """Whether there is room for the results."""
    if estimate.disk > (free := _free(config.results)):
        need = f"results need about {file_size(estimate.disk)}, but {config.results.absolute()} has {file_size(free)}"
        yield Problem("warning", f"{need} free: set results to a folder on another disk")


def _preparation_row(config: Config, slides: Sequence[InspectedSlide]) -> Row:
    """Tissue and tiles are found, and features imported, by the same work as in the check."""
    seconds = sum(slide.record.seconds for slide in slides) / cpu_cores()
    done = "imported features" if config.encoder.is_imported else "tissue, tiles"
    return done, duration(seconds), plural(len(slides), "slide")


def _encoding_row(config: Config, slides: Sequence[InspectedSlide], speeds: Speeds) -> Iterator[Row]:
    """The time of encoding: on a CPU readers and encoder share its cores, with a GPU the slower one decides."""
    if config.encoder.is_imported:
        return
    tiles = Counter[str]()
    for slide in slides:
        tiles[slide.format] += slide.record.tiles or 0
    if speeds.encoding is None:
        yield "encoding", "not measured", f"{tiles.total():,} tiles"
        return
    typical = sum(speeds.reading.values()) / max(1, len(speeds.reading))
    reading = sum(count * speeds.reading.get(name, typical) for name, count in tiles.items())
    encoding, compiled = tiles.total() * speeds.encoding, ""
    if speeds.device == "cpu":
        seconds = encoding + reading / cpu_cores()
        compiled = "" if config.encoder.compile == "never" else ", a third less where it is compiled"
    else:
        seconds = max(encoding, reading / (config.encoder.readers or cpu_cores()))
    rates = ", ".join(f"{two_digits(1 / rate)} tiles/s ({name})" for name, rate in speeds.reading.items())
    encoded = f"{config.encoder.name} encodes {two_digits(1 / speeds.encoding)} tiles/s{compiled}"
    yield "encoding", duration(seconds), f"{tiles.total():,} tiles; {encoded}; one process reads {rates}"


def _training_row(config: Config, datasets: Sequence[CheckedDataset], speeds: Speeds) -> Row:
    """The time of all trainings, if none stops early."""
    training, folds = config.training, 0
    seconds = 0.0
    for dataset in datasets:
        tiles = {slide.record.slide_id: slide.record.tiles or 0 for slide in dataset.slides}
        for fold in {row.fold for row in dataset.folds}:
            rows = [row for row in dataset.folds if row.fold == fold]
            train, validation = (
                [tiles[row.slide_id] for row in rows if row.part == part] for part in ("train", "validation")
            )
            passes = math.ceil(training.epoch_steps / math.ceil(len(train) / training.batch_size))
            seen = [min(training.tile_fraction * count, training.max_tiles or math.inf) for count in train]
            for model in config.models:
                step = speeds.steps[model.id]
                steps = sum(passes * _step_seconds(model, step, count) for count in seen)
                inference = sum(_step_seconds(model, step, count) for count in validation) / (1 + BACKWARD)
                seconds += training.seeds * training.epochs * (steps + inference)
            folds += 1
    if speeds.device == "cpu":  # a training for each core
        seconds /= cpu_cores()
    count = plural(folds * len(config.models) * training.seeds, "training")
    return "training", f"at most {duration(seconds)}", f"{count} of {training.epochs} epochs; most stop earlier"


def _step_seconds(model: Model, step: Step, tiles: float) -> float:
    """The time of a training step with a slide of so many tiles, from one of another: as their operations."""
    return step.seconds * _operations(model, step, tiles) / _operations(model, step, step.tiles)


def _operations(model: Model, step: Step, tiles: float) -> float:
    """Floating-point operations of a training step: those of linear layers, and of attention between all tiles, whose
    backward pass computes it again."""
    attention = 4 * (2 + BACKWARD) * model.num_layers * model.hidden_dim * tiles**2 if model.is_roformer else 0.0
    return 2 * (1 + BACKWARD) * step.parameters * tiles + attention


def _disk(
    config: Config, slides: Sequence[InspectedSlide], trained: Sequence[CheckedDataset], speeds: Speeds
) -> dict[str, float]:
    """The bytes of results by their kind."""
    tiles = sum(slide.record.tiles or 0 for slide in slides)
    segmented = 0 if config.encoder.is_imported else len(slides)
    parts = {"features": tiles * (speeds.values or 0) * BYTES_PER_VALUE, "tissue": segmented * BYTES_PER_SLIDE}
    trainings = config.training.seeds * sum(len({row.fold for row in dataset.folds}) for dataset in trained)
    parameters = sum(step.parameters for step in speeds.steps.values())
    parts["models"] = trainings * COPIES * BYTES_PER_PARAMETER * parameters
    tested = sum(slide.record.is_ok for dataset in trained for slide in dataset.slides)
    parts["heat maps"] = len(config.heatmap_models) * tested * BYTES_PER_HEATMAP
    return parts


def _free(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, which may not exist yet."""
    folder = folder.absolute()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
