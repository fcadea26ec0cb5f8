"""All tables of a run, from its folds' predictions."""

from pathlib import Path

import pandas as pd

from roformermil.bags.leakage import read_findings
from roformermil.cohort.slide_table import attrition_summary, read_slide_table
from roformermil.evaluation.calibration import calibration_table, confusion
from roformermil.evaluation.cautions import cautions
from roformermil.evaluation.classes import class_table
from roformermil.evaluation.comparisons import compare_models
from roformermil.evaluation.predictions import FoldResult, OutOfFold, out_of_fold
from roformermil.evaluation.summary import by_bootstrap, fold_metrics, paper_table, summarise
from roformermil.runtime.files import write_text
from roformermil.runtime.provenance import write_provenance


def write_tables(predictions: list[Path], data_sets: list[Path], out: Path, config: str = "{}") -> None:
    """Write into `out`: `metrics.csv`, `summary.csv`, `summary.md`, `cautions.csv`, `classes.csv`, `calibration.csv`,
    `confusion.csv`, `comparisons.csv`, and `provenance.json`: the configuration (JSON) and the code that made them.

    predictions: every fold's predictions.csv; data_sets: folders that hold a data set's slides.csv and leakage.csv.
    """
    results = [FoldResult.at(path) for path in predictions]
    found = out_of_fold(results)
    metrics, sizes = fold_metrics(results)
    summary = summarise(metrics, by_bootstrap(found))
    notes = dataset_notes(found, data_sets)
    said = [(*key, line) for key, lines in notes.items() for line in lines[1:]]
    tables = {
        "metrics": metrics,
        "summary": summary,
        "classes": class_table(found),
        "calibration": calibration_table(found),
        "confusion": confusion(found),
        "cautions": pd.DataFrame(said, columns=["dataset", "encoder", "caution"]),
        "comparisons": compare_models(found, metrics, (sizes.test / sizes.train).to_dict()),
    }
    for name, table in tables.items():
        write_text(out / f"{name}.csv", _csv(table))
    write_text(out / "summary.md", paper_table(summary, notes))
    write_provenance(out / "provenance.json", config)


def dataset_notes(found: list[OutOfFold], data_sets: list[Path]) -> dict[tuple[str, str], list[str]]:
    """What is to be said of each data set and encoder: how many slides it has, then why its numbers cannot be trusted."""
    notes: dict[tuple[str, str], list[str]] = {}
    for one in found:
        if (one.dataset, one.encoder) in notes:
            continue  # another model, tested on the same slides
        folder = next(folder for folder in data_sets if folder.name == one.dataset)
        slides, findings = read_slide_table(folder / "slides.csv"), read_findings(folder / "leakage.csv")
        count = f"{one.dataset}: {len(set(one.folds))} folds; {attrition_summary(slides)}"
        notes[one.dataset, one.encoder] = [count, *cautions(one, slides, findings)]
    return notes


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")
