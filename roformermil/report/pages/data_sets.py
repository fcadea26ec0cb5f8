"""What a run's data sets consist of: slides, patients, folds; the plots and heat maps of each; what became of its slides."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from roformermil.bags.folds import FoldRow, read_folds
from roformermil.cohort.slide_table import SlideRecord, read_slide_table, shorten_warnings
from roformermil.errors import Status
from roformermil.evaluation.calibration import calibration_caution
from roformermil.evaluation.fold_results import FoldResult
from roformermil.report.pages.pictures import jpeg_uri, outline_uri, png_uri
from roformermil.tasks import Task

PLOTS = ("curves", "confusion", "calibration", "survival", "scatter", "history")
SHOWN_SLIDES = 50  # per data set, of those that are lost, of those with a warning and of those left out
OUTCOMES = {"right": "predicted right", "wrong": "predicted wrong", "unlabelled": "without a label, predicted so"}
OUTCOMES["labelled"] = "predicted"  # of a task that predicts no class


def trained_on(datasets: Iterable[Path], config: Mapping[str, Any]) -> dict[str, str]:
    """By data set, the one that the models which predict it were trained on; "" for one that is trained on itself.

    datasets: folders; config: that of the run. Without one, a folder's predictions tell.
    """
    if config:
        return {folder.name: config["datasets"][folder.name].get("validates") or "" for folder in datasets}
    trained = {}
    for folder in datasets:
        results = map(FoldResult.at, sorted(folder.glob("*/*/fold_*/predictions.csv"))[:1])
        trained[folder.name] = next((result.trained_on for result in results if result.is_external), "")
    return trained


def describe_dataset(folder: Path, task: Task, trained: str = "") -> dict[str, Any]:
    """A data set by the files in its folder: `size`, the line of a table; why its `calibration` cannot be read, if so; its
    plots; its slides.

    task: what is predicted, of the classes of its labels; trained: the data set that its models were trained on where that is
    another, kept as `external`.
    """
    rows, classes = read_folds(folder / "folds.csv"), task.classes
    patients = {name: len(patients_of(rows, name)) for name in classes}
    caution = calibration_caution(patients) if classes else ""
    shown = [name for name in PLOTS if not (caution and name == "calibration")]
    return {
        "name": folder.name,
        "external": trained,
        "size": [folder.name, *_size(rows, task, trained)],
        "positive": classes[1] if len(classes) == 2 else "",
        "calibration": caution,
        "plots": {name: png_uri(folder / f"plots/{name}.png") if name in shown else "" for name in PLOTS}
        | {"decisions": png_uri(decisions_plot(folder))},
        "slides": describe_slides(folder),
        "contact_sheet": jpeg_uri(folder / "tissue.jpg"),
    }


def decisions_plot(folder: Path) -> Path:
    """Where the plot of a data set's decisions is. It comes with the report, which is of all data sets: in the folder of one it would
    be written again whenever another changed."""
    return folder.with_name("plots") / f"{folder.name}_decisions.png"


def patients_of(rows: Iterable[FoldRow], label: str) -> set[str]:
    """The patients who have slides with this label."""
    return {row.patient_id for row in rows if row.label == label}


def _size(rows: Sequence[FoldRow], task: Task, trained: str) -> list[Any]:
    """Slides, patients, what their labels are, folds, test slides per fold and positive class."""
    labels, classes = {row.slide_id: row.label for row in rows}, task.classes
    labelled = {row.slide_id: (row.label, row.patient_id) for row in rows if row.label}
    described = task.describe(*map(list, zip(*labelled.values(), strict=True))) if labelled else ""
    folds, everyone = len({row.fold for row in rows}), len({row.patient_id for row in rows})
    tested = sum(row.part == "test" for row in rows) / folds
    positive = classes[1] if len(classes) == 2 else "each against the rest"
    divided = [f"external, trained on {trained}", len(labels)] if trained else [folds, f"{round(tested, 1):g}"]
    slides = f"{len(labels)} ({len(labelled)} labelled)" if 0 < len(labelled) < len(labels) else len(labels)
    return [slides, everyone, described or "no labels", *divided, positive if classes else "–"]


def heat_maps(folder: Path, encoder: str, model: str) -> list[dict[str, str]]:
    """The panels in a model's gallery: picture, slide, label (or without classes the group) and what the prediction was."""
    gallery = folder / encoder / model / "heatmaps/gallery"
    return [
        {"picture": jpeg_uri(path), "slide": path.stem, "label": path.parts[-3], "outcome": OUTCOMES[path.parts[-2]]}
        for path in sorted(gallery.glob("*/*/*.jpg"))
    ]


def describe_slides(folder: Path) -> dict[str, Any]:
    """How many slides and tiles a data set has; of each that is `lost`, `odd` (used, with a warning) or `left_out` by the slide
    sheet: outline, id, status and message; of these the first SHOWN_SLIDES, and how many more there are."""
    records, outlines = read_slide_table(folder / "slides.csv"), folder / "tissue"
    tiles = [record.tiles or 0 for record in records if record.is_ok]
    lost = [record for record in records if record.is_lost]
    odd = [record for record in records if record.is_ok and record.warnings]
    left_out = [record for record in records if record.status == Status.EXCLUDED]
    return {
        "counts": {"usable": len(tiles), "all": len(records), "tiles": sum(tiles), "median": median(tiles or [0])},
        "lost": _slide_lines(lost, outlines),
        "odd": _slide_lines(odd, outlines),
        "left_out": _slide_lines(left_out, outlines),
        "more": [max(0, len(group) - SHOWN_SLIDES) for group in (lost, odd, left_out)],
    }


def _slide_lines(records: Sequence[SlideRecord], outlines: Path) -> list[dict[str, str]]:
    return [
        {
            "picture": outline_uri(record, outlines),
            "slide": record.slide_id,
            "status": record.status,
            "stage": record.stage,
            "message": shorten_warnings(record.warnings) if record.is_ok else record.message,
        }
        for record in records[:SHOWN_SLIDES]
    ]
