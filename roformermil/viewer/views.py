"""What the viewer shows: the slides of a data set as one model predicted them."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.tasks import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownSlide:
    """A slide, and what is known of it."""

    record: SlideRecord
    patient: str = ""
    label: str = ""
    probabilities: tuple[float, ...] = ()  # one per class, or a risk; empty without a prediction
    fold: int | None = None  # that tested the slide
    text: str = ""  # a prediction that is no class, and the label, in words
    spread: float | None = None  # of the ensemble: range of its members' probabilities of the predicted class


@dataclass(frozen=True)
class View:
    """A data set's slides with the predictions of a model; before training, without."""

    dataset: str
    encoder: str  # its id, as that of the model; "" before training
    model: str
    classes: list[str]  # or the one value that a tile contributes to, of another task
    slides: dict[str, ShownSlide]  # by slide_id
    tissue: Path  # folder of outlines
    tiles: Path  # folder of tile tables
    heatmaps: Path | None  # folder of heat maps, also where there are none
    remedy: str  # how to get heat maps that are missing
    auroc: tuple[float, float, float] | None = (
        None  # or another main metric: mean over folds, and its 95% interval, which may be NaN
    )
    metric: str = "auroc"  # which one that is
    unit: str = "log-odds"  # of contributions
    cautions: list[str] = field(default_factory=list)


def with_prediction(slide: ShownSlide, task: Task, values: Sequence[float]) -> ShownSlide:
    """The slide with its predictions (P,): probabilities of classes, or of another task words, and a risk, which is one too."""
    if task.classes:
        return replace(slide, probabilities=tuple(values))
    is_probability = task.bounds_of_predictions == (0, 1)
    text = task.describe_prediction(np.asarray(values), slide.label)
    return replace(slide, text=text, probabilities=(values[0],) if is_probability else ())


def has_heatmaps(view: View) -> bool:
    """Whether any of the slides has attention or contributions to show."""
    return bool(view.heatmaps and next(view.heatmaps.glob("*.geojson"), None))


def surprise(slide: ShownSlide, classes: list[str]) -> float | None:
    """How unexpected a prediction is, 0 to 1: the probability of all classes but the label, or where there is no label, of
    all but the predicted one. None without a prediction of a class."""
    if slide.text or not slide.probabilities:
        return None
    known = slide.label in classes
    return 1 - (slide.probabilities[classes.index(slide.label)] if known else max(slide.probabilities))


def by_surprise(view: View) -> list[ShownSlide]:
    """The slides, confidently wrong ones first, then those without a prediction, then those that are not used."""

    def rank(slide: ShownSlide) -> tuple[bool, bool, float]:
        value = surprise(slide, view.classes)
        return not slide.record.is_ok, value is None, -(value or 0.0)

    return sorted(view.slides.values(), key=rank)


def with_absolute_paths(records: Sequence[SlideRecord], folder: Path, root: Path | None) -> list[SlideRecord]:
    """The records with absolute paths. Those in tables are relative to the folder where the command ran: `root`, by default
    the current folder or the nearest one above `folder` below which a slide exists; a warning where none does."""
    places = [root] if root else [Path.cwd(), *folder.absolute().parents]
    found = next((place for place in places if any((place / record.path).exists() for record in records)), None)
    if records and not found:
        wanted = "the folder where the workflow or predict ran, which their paths are relative to"
        log.warning("%s: none of its slides' files is found; give --root, %s", folder.absolute(), wanted)
    return [replace(record, path=((found or places[0]) / record.path).absolute()) for record in records]
