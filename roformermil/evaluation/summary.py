"""From predictions to `metrics.csv`, `summary.csv` and `summary.md`."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.evaluation.bootstrap import draws, expanded_tails, over_folds, percentile_interval
from roformermil.evaluation.intervals import corrected_interval
from roformermil.evaluation.predictions import COLUMN, KEYS, FoldResult, OutOfFold, out_of_fold, read_predictions
from roformermil.evaluation.weighted import weighted_scores
from roformermil.files import write_text
from roformermil.metrics import METRICS, score
from roformermil.provenance import this_run
from roformermil.status import attrition, read_status

FEW = 20  # test slides a fold below which the table warns
COLUMNS = (("auroc", "AUROC"), ("average_precision", "average precision"))  # of the paper's table


def evaluate(predictions: list[Path], slides: list[Path], out: Path, config: str = "{}") -> None:
    """Write the three tables into `out` from folds' predictions and data sets' attrition tables (`slides.csv`), and beside
    them `provenance.json`: the configuration (JSON) and the code that made them."""
    results = [FoldResult.at(path) for path in predictions]
    metrics, sizes = fold_metrics(results)
    found = out_of_fold(results)
    summary = with_bootstrap(summarise(metrics, (sizes.test / sizes.train).to_dict()), found)
    write_text(out / "metrics.csv", metrics.to_csv(index=False, lineterminator="\n"))
    write_text(out / "summary.csv", summary.to_csv(index=False, lineterminator="\n"))
    lost = {path.parent.name: attrition(read_status(path)) for path in slides}
    write_text(out / "summary.md", paper_table(summary, lost, sizes.test.to_dict()))
    came_from = {"run": this_run(), "config": json.loads(config)}
    write_text(out / "provenance.json", json.dumps(came_from, indent=1) + "\n")


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


def cautions(dataset: str, encoder: str, tested: float) -> list[str]:
    """Why a data set's numbers cannot be trusted, a line each. tested: slides a fold."""
    lines = []
    if tested < FEW:
        lines.append(f"- {dataset}: {tested:.0f} test slides a fold are few: read the intervals")
    if encoder.endswith("-random"):
        lines.append(f"- {encoder}: random encoder weights. These numbers say that the path works, no more.")
    return lines


def paper_table(summary: pd.DataFrame, lost: dict[str, str], tested: Mapping) -> str:
    """The paper's table in Markdown: methods down, data sets across, mean +- std over folds; then what went missing."""
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
    for dataset, encoder in groups:
        folds = summary[(summary.dataset == dataset) & (summary.encoder == encoder)].folds.max()
        lines.append(f"- {dataset}: {folds} folds; {lost.get(dataset, 'attrition unknown')}")
        lines += cautions(dataset, encoder, tested[dataset])
    return "\n".join(lines) + "\n"
