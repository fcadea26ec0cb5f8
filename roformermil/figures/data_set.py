"""All figures of one data set."""

from pathlib import Path

from roformermil.evaluation.predictions import FoldResult, out_of_fold
from roformermil.figures.history import history_figure
from roformermil.figures.performance import calibration_figure, confusion_figure, curves_figure


def draw(predictions: list[Path], out: Path) -> None:
    """Write `curves.png`, `calibration.png`, `confusion.png` and `history.png` into `out`.

    predictions: predictions.csv of every fold of every model of one data set, each beside its history.csv and its
    model.safetensors.
    """
    results = [FoldResult.at(path) for path in predictions]
    found = out_of_fold(results)
    curves_figure(found, out / "curves.png")
    calibration_figure(found, out / "calibration.png")
    confusion_figure(found, out / "confusion.png")
    history_figure(results, out / "history.png")
