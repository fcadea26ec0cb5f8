"""Figures fold by fold and over folds, and the paper's table of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.bootstrap import intervals
from roformermil.evaluation.intervals import corrected_interval
from roformermil.evaluation.metrics import METRICS, compute_metrics
from roformermil.evaluation.predictions import KEYS, PROBABILITY_PREFIX, FoldResult, OutOfFold, read_predictions
from roformermil.evaluation.weighted import weighted_scores

Row = tuple[Any, ...]  # data set, encoder, model, metric
Bounds = Sequence[float] | np.ndarray  # low, high
COLUMNS = (("auroc", "AUROC"), ("average_precision", "average precision"))  # of the paper's table


def fold_metrics(
    results: list[FoldResult], part: str = "test", slides: Mapping[str, set[str]] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each fold's metrics on a part, long form, and each data set's mean number of slides a fold: evaluated (`test`)
    and `train`.

    slides: if given, only these slide ids of each data set count; a metric that they do not allow is NaN.
    """
    rows: list[tuple] = []
    sizes: list[tuple] = []
    for result in results:
        table, classes = read_predictions(result.path)
        chosen = table[table.part == part]
        if slides is not None:
            chosen = chosen[chosen.slide_id.isin(slides[result.dataset])]
        sizes.append((result.dataset, len(chosen), (table.part == "train").sum()))
        key = (result.dataset, result.encoder, result.model, result.fold)
        values = (
            compute_metrics(
                chosen.label.map(classes.index).to_numpy(),
                chosen[[f"{PROBABILITY_PREFIX}{name}" for name in classes]].to_numpy(float),
            )
            if len(chosen)
            else {}
        )
        rows += [(*key, name, values.get(name, np.nan)) for name in METRICS]
    metrics = pd.DataFrame(rows, columns=[*KEYS, "fold", "metric", "value"])
    return metrics, pd.DataFrame(sizes, columns=["dataset", "test", "train"]).groupby("dataset").mean()


def summarise(metrics: pd.DataFrame, interval: Callable[[Row, np.ndarray], Bounds]) -> pd.DataFrame:
    """Mean, standard deviation (n - 1) and 95% interval over folds. A fold without both classes has no AUROC.

    interval: low and high for a row (data set, encoder, model, metric) and its values over folds: `by_bootstrap` or `by_folds`.
    """
    rows = []
    for key, group in metrics.groupby([*KEYS, "metric"], sort=False):
        values = group.value.to_numpy(float)
        values = values[np.isfinite(values)]
        mean = values.mean() if len(values) else np.nan
        std = values.std(ddof=1) if len(values) > 1 else np.nan
        rows.append((*key, mean, std, *interval(key, values), len(values)))
    return pd.DataFrame(rows, columns=[*KEYS, "metric", "mean", "std", "ci_low", "ci_high", "folds"])


def by_folds(test_to_train: Mapping) -> Callable[[Row, np.ndarray], Bounds]:
    """Corrected t intervals. test_to_train: each data set's test slides over training slides."""
    return lambda row, values: corrected_interval(values, test_to_train[row[0]])


def by_bootstrap(found: list[OutOfFold]) -> Callable[[Row, np.ndarray], Bounds]:
    """Intervals by the patient-clustered bootstrap of out-of-fold predictions."""
    bounds = {(*one.key, name): low_high for one in found for name, low_high in intervals(one, weighted_scores).items()}
    return lambda row, _: bounds[row]


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
    """The paper's table in Markdown: methods down, data sets across, mean +- std over folds; then the notes of each."""
    groups = list(summary[["dataset", "encoder"]].drop_duplicates().itertuples(index=False, name=None))
    cells = summary.set_index([*KEYS, "metric"])
    titles = " / ".join(title for _, title in COLUMNS)
    lines = [
        f"{titles}, mean ± standard deviation over folds",
        "",
        "| | " + " | ".join(f"{dataset} ({encoder})" for dataset, encoder in groups) + " |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for model in summary.model.unique():
        texts = []
        for group in groups:
            found = [cells.loc[(*group, model, name)] for name, _ in COLUMNS if (*group, model, name) in cells.index]
            texts.append(" / ".join(map(mean_text, found)) or "–")
        lines.append(f"| {model} | " + " | ".join(texts) + " |")
    lines.append("")
    lines += [f"- {note}" for group in groups for note in notes[group]]
    return "\n".join(lines) + "\n"
