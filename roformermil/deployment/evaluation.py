"""Metrics of a packaged model's predictions, where the slide sheet has labels: `metrics.csv`, `classes.csv` and plots."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.deployment.model_card import ModelCard
from roformermil.deployment.prediction_table import SHUFFLED
from roformermil.errors import Status
from roformermil.evaluation.predictions import OutOfFold, read_table, targets_and_predictions
from roformermil.evaluation.summary import POSITION, class_table, metrics_of, summary_table
from roformermil.evaluation.summary_text import METRIC_TITLES, value_text
from roformermil.runtime.files import remove, write_text

NOT_FOR_ONE = [
    "dataset",
    "encoder",
    "model",
    "std",
    "folds",
    "seeds",
    "seed_std",
]  # columns of tables of several models
TABLES, PLOTS = ("metrics.csv", "classes.csv"), "plots"


@dataclass(frozen=True)
class Evaluation:
    """How the predictions of labelled slides compare with their labels."""

    metrics: pd.DataFrame  # `metric, mean, ci_low, ci_high` and, with shuffled positions, POSITION
    slides: int
    patients: int


def evaluate_predictions(out: Path, card: ModelCard) -> Evaluation | None:
    """The metrics of all labelled slides in predictions.csv of the folder `out`, which are written beside it with curves,
    calibration and confusion matrix in `plots`. None, and none of these files, where no predicted slide has a label."""
    model = read_predictions(out / "predictions.csv", card)
    if model is None:
        for name in (*TABLES, PLOTS):
            remove(out / name)
        return None
    summary = summary_table(metrics_of(model), [model])
    metrics = summary[summary.metric.isin(model.task.metrics)].drop(columns=NOT_FOR_ONE)
    metrics = metrics if model.shuffled is not None else metrics.drop(columns=POSITION)
    size = {"slides": len(model.slides), "patients": len(set(model.patients))}
    classes = class_table([model] if card.classes else []).drop(columns=NOT_FOR_ONE, errors="ignore")
    for name, table in zip(TABLES, (metrics.assign(**size), classes), strict=True):
        write_text(out / name, table.to_csv(index=False, lineterminator="\n"))
    _plot(model, out / PLOTS)
    return Evaluation(metrics, **size)


def read_predictions(table: Path, card: ModelCard) -> OutOfFold | None:
    """The predictions of labelled slides in a table that `predict` wrote; None where no slide has a label."""
    rows = read_table(table)
    if "label" not in rows:
        return None
    rows = rows[(rows.status == Status.OK) & rows.label.notna() & (rows.label != "")]
    if card.classes:
        rows = rows[rows.label.isin(card.classes)]
    if rows.empty:
        return None
    if card.unit == "patient":  # all slides of a patient have the patient's prediction
        rows = rows.drop_duplicates("patient_id")
    task = card.predicted
    targets, predictions = targets_and_predictions(rows, task)
    once = np.zeros(len(rows), int)
    return OutOfFold(
        dataset=table.absolute().parent.name,
        encoder=str(card.features["encoder"]),
        model=card.model.id,
        task=task,
        slides=rows["patient_id" if card.unit == "patient" else "slide_id"].to_numpy(),
        patients=rows.patient_id.to_numpy(),
        folds=once,
        targets=targets,
        predictions=predictions,
        seeds=once,
        shuffled=_shuffled(rows, task.columns),
        trained_on=card.training_data.dataset,
        unit=card.unit,
    )


def _shuffled(rows: pd.DataFrame, predicted: Sequence[str]) -> np.ndarray | None:
    """The mean predictions with shuffled positions, (1, n, P); None unless all rows have them."""
    columns = [SHUFFLED + name for name in predicted]
    if not set(columns) <= set(rows) or rows[columns].isna().any(axis=None):
        return None
    return rows[columns].to_numpy(float)[None]


def _plot(model: OutOfFold, out: Path) -> None:
    from roformermil.report.plots import save_plot  # matplotlib
    from roformermil.report.plots.dataset import plot_calibration, plot_confusion, plot_curves
    from roformermil.report.plots.scatter import plot_scatter

    remove(out)  # of other predictions
    plots = {
        "curves": plot_curves,
        "calibration": plot_calibration,
        "confusion": plot_confusion,
        "scatter": plot_scatter,
    }
    for name in model.task.plots:
        if name in plots:  # risk groups need validation slides
            save_plot(plots[name]([model]), out / f"{name}.png")


def describe_evaluation(evaluation: Evaluation, card: ModelCard) -> str:
    """The metrics in lines, beside those of the model's cross-validation."""
    internal = {result.metric: result for result in card.results}
    lines = [
        f"Compared with the labels of {evaluation.slides} slides of {evaluation.patients} patients, 95% interval over patients:"
    ]
    for row in evaluation.metrics.to_dict("records"):
        before, name = internal.get(row["metric"]), METRIC_TITLES[row["metric"]]
        given = (
            {"mean": np.nan}
            if before is None
            else {k: np.nan if v is None else v for k, v in before.model_dump().items()}
        )
        lines.append(
            f"  {name}: {value_text(row)}; in cross-validation on {card.training_data.dataset}: {value_text(given)}"
        )
    return "\n".join(lines)
