"""All figures of one data set."""

from pathlib import Path

from roformermil.evaluation.predictions import FoldResult, out_of_fold
from roformermil.report.plots.history import plot_history
from roformermil.report.plots.performance import plot_calibration, plot_confusion, plot_curves


def plot_dataset(predictions: list[Path], out: Path) -> None:
    """Write `curves.png`, `calibration.png`, `confusion.png` and `history.png` into `out`.

    predictions: predictions.csv of every fold of every model of one data set, each beside its history.csv and its
    model.safetensors.
    """
    results = [FoldResult.at(path) for path in predictions]
    found = out_of_fold(results)
    plot_curves(found, out / "curves.png")
    plot_calibration(found, out / "calibration.png")
    plot_confusion(found, out / "confusion.png")
    plot_history(results, out / "history.png")
