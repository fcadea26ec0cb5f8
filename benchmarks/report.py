"""Wall time and size of the report's parts at the paper's size: 3 data sets x 6 models x 10 folds of simulated predictions.

    python -m benchmarks.report

`evaluate` makes all tables (intervals, tests, calibration), `plots` the plots of a data set, `pages` report.html (without contact
sheets and heat maps, which need slides). The limit is two minutes for everything; the ratio is time over that.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.plan import MODELS
from roformermil.evaluation.tables import write_tables
from roformermil.report.pages import write_report
from roformermil.report.plots.dataset import plot_dataset
from roformermil.runtime.text import markdown_table
from tests.factories import SimulatedRun

# of the size of TCGA-NSCLC, CAMELYON16 and BRACS
DATASETS = {"set_0": (1053, ["a", "b"]), "set_1": (399, ["a", "b"]), "set_2": (547, ["a", "b", "c"])}
FOLDS, LIMIT = 10, 120.0  # seconds


def simulate_run(folder: Path) -> SimulatedRun:
    """The files of a run into which the report looks."""
    run = SimulatedRun(folder)
    for name, (slides, classes) in DATASETS.items():
        rows = run.add_dataset(name, classes, slides, FOLDS)
        for seed, model in enumerate(MODELS):
            run.add_model(name, rows, classes, model, "resnet50-imagenet", seed=seed)
    return run


def seconds(call: Callable[..., object], *arguments: object) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "results"
        run = simulate_run(results)
        parts = {"evaluate": seconds(write_tables, run.predictions, run.datasets, results)}
        for folder in run.datasets:
            predictions = [path for path in run.predictions if folder in path.parents]
            parts[f"plots, {folder.name}"] = seconds(plot_dataset, predictions, folder / "plots")
        parts["pages"] = seconds(write_report, results, run.datasets)
        size = (results / "report.html").stat().st_size / 1e6
    parts["all"] = sum(parts.values())
    rows = [(name, f"{value:.1f}", f"{value / LIMIT:.2f}") for name, value in parts.items()]
    print(markdown_table(["part", "seconds", "of 2 minutes"], rows), f"\nreport: {size:.1f} MB", sep="\n")


if __name__ == "__main__":
    main()
