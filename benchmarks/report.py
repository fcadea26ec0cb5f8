"""Wall time and size of the report's parts at the paper's size: 3 data sets x 6 models x 10 folds, from made-up predictions.

    python benchmarks/report.py

`evaluate` makes all tables (bootstrap, tests, calibration), `figures` a data set's pictures, `overview` the opening page; `snakemake
--report` puts them into one file (contact and heat map sheets, which need slides, are not in it). The limit is two minutes for
all of them; the ratio is time over that.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from plan import MODELS, make_outputs, snakemake, write_data_sets
from safetensors.numpy import save_file

from roformermil.bags.folds import FoldRow, write_folds
from roformermil.bags.leakage import Finding, write_findings
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage
from roformermil.evaluation.tables import write_tables
from roformermil.report.pages import write_pages
from roformermil.report.plots.dataset import plot_dataset

COHORTS = {"tcga_nsclc": (1053, ["LUAD", "LUSC"]), "camelyon16": (399, ["normal", "tumor"]), "bracs": (547, ["benign", "atypical", "malignant"])}  # fmt: skip
LIMIT = 120.0  # seconds


def write_run(folder: Path) -> list[Path]:
    """Predictions, histories, models without parameters and tables of slides as a run leaves them; returns the predictions' paths."""
    rng, paths = np.random.default_rng(0), []
    for name, (slides, classes) in COHORTS.items():
        label, divided = rng.integers(0, len(classes), slides), []
        write_slides_csv(
            folder / name / "slides.csv", [SlideRecord(f"s{k}", f"s{k}.svs", tiles=12000) for k in range(slides)]
        )
        write_findings([Finding("patients", "well", 0, "none")], Leakage(), Folds(), name, folder / name / "leakage.csv")
        for model in MODELS:
            for fold in range(10):
                part = np.array(["train", "validation", "test"])[
                    np.minimum(2, (np.arange(slides) + fold) % 10 // 8 + (np.arange(slides) + fold) % 10 // 9)
                ]
                scores = 1.5 * np.eye(len(classes))[label] + rng.normal(0, 1, (slides, len(classes)))
                p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
                table = pd.DataFrame({"slide_id": [f"s{k}" for k in range(slides)], "patient_id": [f"p{k}" for k in range(slides)],
                                      "label": [classes[c] for c in label], "part": part})  # fmt: skip
                table[[f"probability_{c}" for c in classes]] = p
                path = folder / name / "resnet50-imagenet" / model / f"fold_{fold}" / "predictions.csv"
                path.parent.mkdir(parents=True)
                table.to_csv(path, index=False)
                losses = {"train_loss": np.linspace(0.7, 0.1, 30), "validation_loss": np.linspace(0.7, 0.4, 30)}
                pd.DataFrame({"epoch": range(30), **losses}).to_csv(path.with_name("history.csv"), index=False)
                save_file({"none": np.zeros(1)}, path.with_name("model.safetensors"), {"best_epoch": "20"})
                paths.append(path)
                if model == MODELS[0]:
                    divided += [
                        FoldRow(fold, *row) for row in table[["slide_id", "patient_id", "label", "part"]].values
                    ]
        write_folds(folder / name / "folds.csv", divided)
    return paths


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "results"
        paths = write_run(folder)
        seconds = {}
        start = time.perf_counter()
        write_tables(paths, [folder / name for name in COHORTS], folder)
        seconds["evaluate"] = time.perf_counter() - start
        for name in COHORTS:
            start = time.perf_counter()
            plot_dataset([path for path in paths if path.parts[-5] == name], folder / name / "figures")
            seconds[f"figures, {name}"] = time.perf_counter() - start
        start = time.perf_counter()
        write_pages(folder, [folder / name for name in COHORTS])
        seconds["overview"] = time.perf_counter() - start
        write_data_sets(folder.parent, COHORTS, 25, {})
        make_outputs(folder, COHORTS, 25, 10)
        snakemake(folder.parent, "--touch", "--quiet", "all")
        _, seconds["snakemake --report"], _ = snakemake(folder.parent, "--report", str(folder / "report.html"))
        size = (folder / "report.html").stat().st_size / 1e6
    print("| part | seconds | of 2 minutes |\n|---|--:|--:|")
    for name, value in [*seconds.items(), ("all", sum(seconds.values()))]:
        print(f"| {name} | {value:.1f} | {value / LIMIT:.2f} |")
    print(f"\nthe report: {size:.1f} MB")


if __name__ == "__main__":
    main()
