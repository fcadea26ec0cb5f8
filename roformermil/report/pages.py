"""The report's pages: `overview.html`, which opens it, and `tables.html`. What they say is computed here as plain text
and numbers; the templates lay it out and escape it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from roformermil.bags.folds import read_folds
from roformermil.bags.leakage import read_findings
from roformermil.cohort.slide_table import read_slide_table
from roformermil.evaluation.paper import paper_result
from roformermil.evaluation.pooled import POOLED
from roformermil.evaluation.position import position_sentence
from roformermil.evaluation.predictions import KEYS, read_table
from roformermil.evaluation.summary import POSITION
from roformermil.evaluation.summary_text import COLUMNS, METRIC_TITLES, difference_text, interval_text, mean_text
from roformermil.report.plots import save_plot
from roformermil.report.plots.comparison import plot_comparisons
from roformermil.runtime.files import write_text

TABLES = ("summary", "cautions", "classes", "comparisons", "calibration")
SHOWN_SLIDES = 50  # per data set, of those that are not used, and of those with a warning


def write_pages(results: Path, datasets: list[Path]) -> None:
    """Write `overview.html`, `tables.html` and `comparisons.png` into `results`, from the tables that it contains.

    datasets: folders with a data set's slides.csv, folds.csv and leakage.csv.
    """
    summary, cautions, by_class, comparisons, calibration = (read_table(results / f"{name}.csv") for name in TABLES)
    classes = {str(name): rows["class"].unique().tolist() for name, rows in by_class.groupby("dataset")}
    run = json.loads((results / "provenance.json").read_text(encoding="utf-8"))["run"]
    rows, seeds = _result_rows(summary, classes), int(summary.seeds.max())
    shared = {"cautions": cautions.caution.unique().tolist()}
    overview = shared | {
        "data": [_dataset_row(folder, classes[folder.name]) for folder in datasets],
        "metrics": [title for _, title in COLUMNS],
        "pooled_title": METRIC_TITLES[POOLED],
        "results": rows,
        "seeds": seeds,
        "position": _position_rows(summary),
        "in_paper": any(paper for row in rows for _, _, paper in row["metrics"]),
        "chance": _chance_sentence(summary),
        "comparisons": _describe_comparisons(comparisons),
        "slides": [_describe_slides(folder) for folder in datasets],
        "findings": [
            (d.name, f.check, f.outcome, f.detail) for d in datasets for f in read_findings(d / "leakage.csv")
        ],
        "versions": [(name, version) for name, version in run.items() if version],
    }
    tables = {
        "Summary": summary.drop(columns=POSITION if seeds > 1 else [*POSITION, "seeds", "seed_std"]),
        "With tile positions shuffled": summary[summary.shuffled.notna()][[*KEYS, "metric", "mean", *POSITION]],
        "By class": by_class,
        "Models compared": comparisons,
        "Expected calibration error": calibration[[*KEYS, "ece"]].drop_duplicates(),
    }
    _write_page(results / "overview.html", overview)
    shown = {title: table for title, table in tables.items() if len(table)}
    texts = {title: (list(table), table.map(_cell_text).values.tolist()) for title, table in shown.items()}
    _write_page(results / "tables.html", shared | {"tables": texts})
    save_plot(plot_comparisons(comparisons), results / "comparisons.png")


def _write_page(path: Path, content: Mapping[str, Any]) -> None:
    loader = PackageLoader("roformermil.report")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    write_text(path, jinja.get_template(f"{path.name}.j2").render(content) + "\n")


def _dataset_row(folder: Path, classes: Sequence[str]) -> list[Any]:
    """A data set's name, slides, patients, slides by class, folds, test slides per fold and positive class."""
    rows = read_folds(folder / "folds.csv")
    slides = {row.slide_id: row for row in rows}.values()
    patients = {name: [row.patient_id for row in slides if row.label == name] for name in classes}
    by_class = [f"{len(ids)} {name} ({len(set(ids))} patients)" for name, ids in patients.items()]
    folds, all_patients = len({row.fold for row in rows}), len({row.patient_id for row in slides})
    tested = sum(row.part == "test" for row in rows) / folds
    positive = classes[1] if len(classes) == 2 else "each against the rest"
    return [folder.name, len(slides), all_patients, ", ".join(by_class), folds, f"{tested:.1f}", positive]


def _result_rows(summary: pd.DataFrame, classes: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Each model's metrics: mean and spread, interval, and the mean and standard deviation that the paper reports; its pooled
    AUROC; the standard deviation of AUROC over seeds."""
    rows = []
    for key, group in summary.groupby(KEYS, sort=False):
        dataset, encoder, model = map(str, key)
        by_metric = group.set_index("metric").to_dict("index")
        metrics = []
        for name, _ in COLUMNS:
            paper = paper_result(dataset, classes[dataset], model, name)
            metrics.append((mean_text(by_metric[name]), interval_text(by_metric[name]), paper))
        names = {"dataset": dataset, "encoder": encoder, "model": model}
        pooled = mean_text(by_metric[POOLED]), interval_text(by_metric[POOLED])
        rows.append(names | {"metrics": metrics, "pooled": pooled, "seed_std": by_metric["auroc"]["seed_std"]})
    return rows


def _position_rows(summary: pd.DataFrame) -> list[list[str]]:
    """Of each model that uses positions: AUROC, the same with shuffled positions, their difference, and what that shows."""
    return [
        [
            f"{row['dataset']} ({row['encoder']})",
            row["model"],
            f"{row['mean']:.2f}",
            f"{row['shuffled']:.2f}",
            difference_text(row),
            sentence,
        ]
        for row in summary[summary.metric == "auroc"].to_dict("records")
        if (sentence := position_sentence(row))
    ]


def _chance_sentence(summary: pd.DataFrame) -> str:
    """Names the models that may do no better than guessing; empty where there are none."""
    rows = summary[(summary.metric == "auroc") & (summary.ci_low <= 0.5) & (summary.ci_high >= 0.5)]
    names = ", ".join(f"{row['model']} on {row['dataset']}" for row in rows.to_dict("records"))
    if len(rows) == 1:
        return f"{names} is not distinguishable from chance: its 95% interval of AUROC includes 0.5."
    return names and f"{names} are not distinguishable from chance: their 95% intervals of AUROC include 0.5."


def _describe_comparisons(table: pd.DataFrame) -> dict[str, list[str]]:
    """What the primary test, of AUROC over folds, says of the pairs of models: a `summary`, and the `differences`."""
    table = table[(table.metric == "auroc") & (table.test == "corrected_t")]
    tested, untested, different = table[table.p_holm.notna()], table[table.p_holm.isna()], table[table.p_holm < 0.05]
    summary, test = [], "corrected resampled t-test, Holm's correction"
    if len(tested):
        summary.append(f"{len(different)} of {len(tested)} pairs of models differ at the 5% level ({test}).")
    if len(different) < len(tested):
        summary.append("A difference that is not significant does not show that two models are equal.")
    causes = np.where(untested.folds < 2, "fewer than two folds allow one", "the models differ equally in every fold")
    for cause, count in Counter(causes.tolist()).items():
        summary.append(f"{count} {'comparison has' if count == 1 else 'comparisons have'} no p value: {cause}.")
    return {"summary": summary, "differences": [_difference_sentence(row) for row in different.to_dict("records")]}


def _difference_sentence(row: Mapping[Any, Any]) -> str:
    """The better model first."""
    better, worse, low, high = row["model"], row["against"], row["ci_low"], row["ci_high"]
    if row["difference"] < 0:
        better, worse, low, high = worse, better, -high, -low
    test = f"95% interval {low:.3f} to {high:.3f}; p = {row['p_holm']:.2g}"
    return f"{row['dataset']}: {better} is better than {worse} by {abs(row['difference']):.3f} AUROC ({test})"


def _describe_slides(folder: Path) -> dict[str, Any]:
    """How many slides and tiles a data set has, what is odd about some of them, and why other slides are not used."""
    records = read_slide_table(folder / "slides.csv")
    tiles = [record.tiles or 0 for record in records if record.is_ok]
    unused = [(r.slide_id, r.stage, r.status, r.message) for r in records if not r.is_ok]
    counts = {"usable": len(tiles), "all": len(records), "tiles": sum(tiles), "median": median(tiles or [0])}
    odd = [(record.slide_id, record.warnings) for record in records if record.is_ok and record.warnings]
    shown = {"unused": unused[:SHOWN_SLIDES], "odd": odd[:SHOWN_SLIDES]}
    more = {"more_unused": len(unused[SHOWN_SLIDES:]), "more_odd": len(odd[SHOWN_SLIDES:])}
    return {"name": folder.name, **counts, **shown, **more}


def _cell_text(value: Any) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
