"""Metrics of each fold, over folds and of each class, and the paper's table of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.intervals import corrected_interval, mean_over_folds, patient_intervals
from roformermil.evaluation.metrics import CLASS_METRICS, METRICS, class_metrics, compute_metrics, weighted_metrics
from roformermil.evaluation.predictions import KEYS, OutOfFold, labels_and_probabilities, read_table
from roformermil.runtime.text import markdown_table

Row = tuple[Any, ...]  # data set, encoder, model, metric
Interval = Callable[[Row, np.ndarray], Sequence[float] | np.ndarray]  # (low, high) of a row and its values over folds
COLUMNS = (("auroc", "AUROC"), ("average_precision", "average precision"))  # of the paper's table


def fold_metrics(
    results: list[FoldResult], part: str = "test", slides: Mapping[str, set[str]] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each fold's metrics on a part, a row per metric; and each data set's mean number of slides per fold: evaluated (`test`)
    and `train`.

    slides: if given, only these slide ids of each data set count; a metric that is undefined for them is NaN.
    """
    rows, sizes = [], []
    for result in results:
        table = read_table(result.path)
        chosen = table[table.part == part]
        if slides is not None:
            chosen = chosen[chosen.slide_id.isin(slides[result.dataset])]
        sizes.append((result.dataset, len(chosen), (table.part == "train").sum()))
        values = compute_metrics(*labels_and_probabilities(chosen, result.classes)) if len(chosen) else {}
        rows += [(*result.key, result.fold, name, values.get(name, np.nan)) for name in METRICS]
    metrics = pd.DataFrame(rows, columns=[*KEYS, "fold", "metric", "value"])
    return metrics, pd.DataFrame(sizes, columns=["dataset", "test", "train"]).groupby("dataset").mean()


def summarise(metrics: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Mean, standard deviation (n - 1) and 95% interval over folds. A fold that lacks a class has no AUROC.

    interval: `by_patients` or `by_folds`.
    """
    rows = []
    for key, group in metrics.groupby([*KEYS, "metric"], sort=False):
        values = group.value.to_numpy(float)
        values = values[np.isfinite(values)]
        mean = values.mean() if len(values) else np.nan
        std = values.std(ddof=1) if len(values) > 1 else np.nan
        rows.append((*key, mean, std, *interval(key, values), len(values)))
    return pd.DataFrame(rows, columns=[*KEYS, "metric", "mean", "std", "ci_low", "ci_high", "folds"])


def by_folds(test_to_train: Mapping) -> Interval:
    """Corrected t intervals over folds. test_to_train: each data set's test slides over training slides."""
    return lambda row, values: corrected_interval(values, test_to_train[row[0]])


def by_patients(models: list[OutOfFold]) -> Interval:
    """Intervals over patients, from out-of-fold predictions."""
    intervals = {model.key: patient_intervals(model, weighted_metrics) for model in models}
    return lambda row, _: intervals[row[0], row[1], row[2]][row[3]]


def class_table(models: list[OutOfFold]) -> pd.DataFrame:
    """Each class's CLASS_METRICS against the rest, mean over folds with 95% interval, and its number of slides."""
    rows = []
    for model in models:
        means, intervals = mean_over_folds(model, class_metrics), patient_intervals(model, class_metrics)
        for metric in CLASS_METRICS:
            low, high = intervals[metric]
            rows += [
                (*model.key, name, int((model.labels == c).sum()), metric, means[metric][0, c], low[c], high[c])
                for c, name in enumerate(model.classes)
            ]
    return pd.DataFrame(rows, columns=[*KEYS, "class", "slides", "metric", "mean", "ci_low", "ci_high"])


def mean_text(row: Mapping) -> str:
    """`mean ± std` of a row, as far as there are such."""
    if not np.isfinite(row["mean"]):
        return "–"
    return f"{row['mean']:.2f}" + (f" ± {row['std']:.2f}" if np.isfinite(row["std"]) else "")


def interval_text(row: Mapping, form: str = ".2f") -> str:
    """`[low, high]` of a row, or that there is none."""
    if not np.isfinite([row["ci_low"], row["ci_high"]]).all():
        return "[no interval]"
    return f"[{row['ci_low']:{form}}, {row['ci_high']:{form}}]"


def paper_table(summary: pd.DataFrame, notes: Mapping[tuple[str, str], list[str]]) -> str:
    """The paper's table in Markdown: models down, data sets across, mean ± std over folds; then each data set's notes."""
    cells = {tuple(row[key] for key in [*KEYS, "metric"]): mean_text(row) for row in summary.to_dict("records")}
    groups = list(dict.fromkeys(key[:2] for key in cells))
    rows = []
    for model in summary.model.unique():
        keys = [[key for name, _ in COLUMNS if (key := (*group, model, name)) in cells] for group in groups]
        rows.append([model, *(" / ".join(cells[key] for key in group) or "–" for group in keys)])
    titles = " / ".join(title for _, title in COLUMNS)
    table = markdown_table(["model", *(f"{dataset} ({encoder})" for dataset, encoder in groups)], rows)
    lines = "".join(f"- {note}\n" for group in groups for note in notes[group])
    return f"{titles}, mean ± standard deviation over folds\n\n{table}\n\n{lines}"
