"""Figures fold by fold and over folds, and the paper's table of them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from roformermil.evaluation.bootstrap import draws, expanded_tails, over_folds, percentile_interval
from roformermil.evaluation.intervals import corrected_interval
from roformermil.evaluation.predictions import COLUMN, KEYS, FoldResult, OutOfFold, read_predictions
from roformermil.evaluation.weighted import weighted_scores
from roformermil.metrics import METRICS, score

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
            score(
                chosen.label.map(classes.index).to_numpy(),
                chosen[[f"{COLUMN}{name}" for name in classes]].to_numpy(float),
            )
            if len(chosen)
            else {}
        )
        rows += [(*key, name, values.get(name, np.nan)) for name in METRICS]
    metrics = pd.DataFrame(rows, columns=[*KEYS, "fold", "metric", "value"])
    return metrics, pd.DataFrame(sizes, columns=["dataset", "test", "train"]).groupby("dataset").mean()


def summarise(metrics: pd.DataFrame, test_to_train: Mapping) -> pd.DataFrame:
    """Mean, standard deviation (n - 1) and corrected t interval (95%) over folds. A fold without both classes has no AUROC."""
    rows = []
    for (dataset, encoder, model, metric), group in metrics.groupby([*KEYS, "metric"], sort=False):
        values = group.value.to_numpy(float)
        values = values[np.isfinite(values)]
        low, high = corrected_interval(values, test_to_train[str(dataset)])
        mean = values.mean() if len(values) else np.nan
        std = values.std(ddof=1) if len(values) > 1 else np.nan
        rows.append((dataset, encoder, model, metric, mean, std, low, high, len(values)))
    return pd.DataFrame(rows, columns=[*KEYS, "metric", "mean", "std", "ci_low", "ci_high", "folds"])


def with_bootstrap(summary: pd.DataFrame, found: list[OutOfFold]) -> pd.DataFrame:
    """The summary with intervals by the patient-clustered bootstrap of out-of-fold predictions."""
    bounds = {}
    for one in found:
        figures = over_folds(one, draws(one), weighted_scores)
        for name, values in figures.items():
            bounds[(*one.key, name)] = percentile_interval(values, expanded_tails(one))
    rows = [bounds[tuple(row)] for row in summary[[*KEYS, "metric"]].itertuples(index=False)]
    return summary.assign(ci_low=[low for low, _ in rows], ci_high=[high for _, high in rows])


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
            texts.append(" / ".join(f"{row['mean']:.2f} ± {row['std']:.2f}" for row in found) or "–")
        lines.append(f"| {model} | " + " | ".join(texts) + " |")
    lines.append("")
    lines += [f"- {note}" for group in groups for note in notes[group]]
    return "\n".join(lines) + "\n"
