"""What a bag is made of, by the setting `unit`: the tiles of a slide, or those of all slides of a patient."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from roformermil.bags.folds import FoldRow
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Unit
from roformermil.errors import FoldsError
from roformermil.runtime.text import join_some


def group_into_bags(rows: Iterable[FoldRow], unit: Unit) -> list[tuple[FoldRow, ...]]:
    """The rows of each bag in the order of its first slide: one row for each slide, or all rows of a patient.

    rows: of one fold. With `unit: patient`, raises FoldsError for a patient whose slides differ in label or part.
    """
    if unit == "slide":
        return [(row,) for row in rows]
    bags: dict[str, list[FoldRow]] = defaultdict(list)
    for row in rows:
        bags[row.patient_id].append(row)
    check_patient_labels([row for bag in bags.values() for row in bag])
    if parted := [name for name, bag in bags.items() if len({row.part for row in bag}) > 1]:
        problem = f"unit: patient needs all slides of a patient in one part of a fold; {join_some(parted)} has several"
        raise FoldsError(f"{problem}: correct the folds (folds.path), or set unit: slide")
    return [tuple(bag) for bag in bags.values()]


def check_patient_labels(slides: Sequence[Slide | FoldRow]) -> None:
    """Raises FoldsError, which lists the slides, for patients whose slides have several labels: a bag has one."""
    labels: dict[str, dict[str, str]] = defaultdict(dict)  # of each patient's slides
    for slide in slides:
        if slide.label:
            labels[slide.patient_id][slide.slide_id] = slide.label
    differing = [
        f"{patient} ({', '.join(f'{slide_id}: {label}' for slide_id, label in of_slides.items())})"
        for patient, of_slides in labels.items()
        if len(set(of_slides.values())) > 1
    ]
    if differing:
        problem = f"unit: patient needs one label per patient, but the slides of {join_some(differing)} differ"
        remedy = "correct the labels or patient_id in the slide sheet, leave slides out (column exclude)"
        raise FoldsError(f"{problem}: {remedy}, or set unit: slide")


def with_patient_labels(slides: Sequence[Slide]) -> list[Slide]:
    """The slides, of which one without a label has that of its patient. Raises FoldsError as `check_patient_labels` does."""
    check_patient_labels(slides)
    labels = {slide.patient_id: slide.label for slide in slides if slide.label}
    return [replace(slide, label=slide.label or labels.get(slide.patient_id, "")) for slide in slides]


def slides_of_bags(rows: Iterable[FoldRow], unit: Unit) -> dict[str, list[str]]:
    """The slide ids of each bag by its id, that of a slide or of a patient. rows: of any number of folds."""
    slides: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        slides[row.patient_id if unit == "patient" else row.slide_id][row.slide_id] = None
    return {name: list(ids) for name, ids in slides.items()}
