"""Metrics of a packaged model's predictions, where the slide sheet has labels: `metrics.csv`, `classes.csv`, `decisions.csv`, of
survival `survival_groups.csv`, and plots."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roformermil.deployment.model_card import MetricResult, ModelCard
from roformermil.deployment.prediction_table import SHUFFLED
from roformermil.errors import Status
from roformermil.evaluation.decisions import AT_PREVALENCE, TITLES, decision_rows
from roformermil.evaluation.kaplan_meier import GROUPS_TABLE, groups_table, one_per_patient
from roformermil.evaluation.patients import by_patient
from roformermil.evaluation.predictions import KEYS, OutOfFold, read_table, targets_and_predictions
from roformermil.evaluation.summary import POSITION, class_table, metrics_of, summary_table
from roformermil.evaluation.summary_text import METRIC_TITLES, value_text
from roformermil.runtime.files import remove, write_text
from roformermil.runtime.text import join_some, p_text, plural

log = logging.getLogger(__name__)
NOT_FOR_ONE = [*KEYS, "std", "folds", "seeds", "seed_std"]  # columns of tables of several models
TABLES, PLOTS = ("metrics.csv", "classes.csv", "decisions.csv"), "plots"
RISK_GROUPS = f"{GROUPS_TABLE}.csv"
DECISION_COLUMNS = ["class", "threshold", "metric", "prevalence", "value", "ci_low", "ci_high"]


@dataclass(frozen=True)
class Evaluation:
    """How the predictions of labelled slides compare with their labels."""

    metrics: (
        pd.DataFrame
    )  # `level, metric, mean, ci_low, ci_high, slides, patients` and, with shuffled positions, POSITION
    decisions: pd.DataFrame  # DECISION_COLUMNS
    risk_groups: pd.DataFrame  # of survival, as of `groups_table`; else empty


def evaluate_predictions(out: Path, card: ModelCard) -> Evaluation | None:
    """The metrics of all labelled slides in predictions.csv of the folder `out`, and again by patient where some have several; and
    what the packaged operating points reach. They are written beside it, with curves, calibration and confusion matrix in `plots`.
    None, and none of these files, where no predicted slide has a label."""
    from roformermil.report.plots.dataset import plot_task  # matplotlib

    model = read_predictions(out / "predictions.csv", card)
    if model is None:
        for name in (*TABLES, RISK_GROUPS, PLOTS):
            remove(out / name)
        return None
    metrics = pd.concat([_metrics(one) for one in (model, by_patient(model)) if one])
    classes = class_table([model] if card.classes else []).drop(columns=NOT_FOR_ONE, errors="ignore")
    decisions = _decisions(model, card)
    for name, table in zip(TABLES, (metrics, classes, decisions), strict=True):
        write_text(out / name, table.to_csv(index=False, lineterminator="\n"))
    risk_groups = _divide_by_risk(model, card)
    tables = [groups_table(*divided) for divided in risk_groups]
    for table in tables:
        write_text(out / RISK_GROUPS, table.drop(columns="fold").to_csv(index=False, lineterminator="\n"))
    remove(out / PLOTS)  # of other predictions
    plot_task([model], out / PLOTS, divided=risk_groups)
    return Evaluation(metrics, decisions, *tables or [pd.DataFrame()])


def _metrics(model: OutOfFold) -> pd.DataFrame:
    """The task's metrics by slide or by patient; the column `slides` counts whichever it is."""
    summary = summary_table(metrics_of(model), [model])
    metrics = summary[summary.metric.isin(model.task.metrics)].drop(columns=NOT_FOR_ONE)
    metrics = metrics if model.shuffled is not None else metrics.drop(columns=POSITION)
    metrics.insert(0, "level", model.unit)
    return metrics.assign(slides=len(model.slides), patients=len(set(model.patients)))


def _divide_by_risk(model: OutOfFold, card: ModelCard) -> list[tuple[OutOfFold, np.ndarray]]:
    """Of survival, the patients and the packaged risk that divides low from high for each, as of `risk_groups`; else none."""
    if card.cut is None:
        return []
    patients = one_per_patient(model)
    return [(patients, np.full(len(patients.patients), card.cut))]


def _decisions(model: OutOfFold, card: ModelCard) -> pd.DataFrame:
    """Sensitivity, specificity and predictive values at the packaged operating points: DECISION_COLUMNS."""
    rows = []
    for name, point in card.decisions.classes.items():
        c = card.classes.index(name)
        called = (model.predictions[:, c] >= point.threshold).astype(float)
        given = (model.targets == c, called, model.patients, point.prevalence)
        for metric, prevalence, value, bounds in decision_rows(*given):
            rows.append((name, point.threshold, metric, prevalence, value, *bounds))
    return pd.DataFrame(rows, columns=DECISION_COLUMNS)


def read_predictions(table: Path, card: ModelCard) -> OutOfFold | None:
    """The predictions of labelled slides in a table that `predict` wrote; None where no slide has a label."""
    rows = read_table(table)
    if "label" not in rows:
        return None
    rows = rows[(rows.status == Status.OK) & rows.label.notna() & (rows.label != "")]
    if card.classes:
        rows = rows[rows.label.isin(card.classes)]
    if card.unit == "patient":  # all slides of a patient have the patient's prediction
        rows = _one_row_per_patient(rows)
    if rows.empty:
        return None
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


def _one_row_per_patient(rows: pd.DataFrame) -> pd.DataFrame:
    labels = rows.groupby("patient_id").label.nunique()
    if mixed := labels.index[labels > 1].tolist():
        log.warning("patients whose slides differ in label are not evaluated: %s", join_some(mixed))
    return rows[~rows.patient_id.isin(mixed)].drop_duplicates("patient_id")


def _shuffled(rows: pd.DataFrame, predicted: Sequence[str]) -> np.ndarray | None:
    """The mean predictions with shuffled positions, (1, n, P); None unless all rows have them."""
    columns = [SHUFFLED + name for name in predicted]
    if not set(columns) <= set(rows) or rows[columns].isna().any(axis=None):
        return None
    return rows[columns].to_numpy(float)[None]


def describe_evaluation(evaluation: Evaluation, card: ModelCard) -> str:
    """The metrics in lines, beside those of the model's cross-validation, and what the operating points reach."""
    by_level: dict[str, list[MetricResult]] = {"patient": card.by_patient, card.unit: card.results}
    lines: list[str] = []
    for level, metrics in evaluation.metrics.groupby("level", sort=False):
        size = metrics.iloc[0]
        patients = plural(size.patients, "patient")
        compared = patients if level == "patient" else f"{plural(size.slides, 'slide')} of {patients}"
        title = f"Compared with the labels of {compared}"
        lines.append(
            f"{title}, 95% interval over patients:" if not lines else "By patient, with the mean of their slides:"
        )
        for row in metrics.to_dict("records"):
            line = f"  {METRIC_TITLES[row['metric']]}: {value_text(row)}"
            of_metric = {result.metric: result.model_dump() for result in by_level.get(str(level), [])}
            if given := of_metric.get(row["metric"]):
                before = {key: np.nan if value is None else value for key, value in given.items()}
                line += f"; in cross-validation on {card.training_data.dataset}: {value_text(before)}"
            lines.append(line)
    for (name, threshold), rows in evaluation.decisions.groupby(["class", "threshold"], sort=False):
        reached = [_reached_text(row) for row in rows.to_dict("records")]
        lines.append(f"Called {name} at {threshold:.2f} or more, the packaged operating point: {', '.join(reached)}")
    groups = evaluation.risk_groups.to_dict("records")
    if groups:
        counts = [f"{row['patients']} of {row['group']} risk ({row['events']} with an event)" for row in groups]
        test = f"log-rank test, {p_text(groups[0]['p'])}" if np.isfinite(groups[0]["p"]) else "no log-rank test"
        lines.append(f"Patients divided at the packaged risk of {card.cut:.2f}: {', '.join(counts)}; {test}")
    return "\n".join(lines)


def _reached_text(row: Mapping[Any, Any]) -> str:
    """A row of decisions.csv: the metric, its value and, where that is another than the slides' own, the prevalence."""
    name = row["metric"].removesuffix(AT_PREVALENCE)
    at = f" at a prevalence of {row['prevalence']:.2g}" if name != row["metric"] else ""
    return f"{TITLES[name]}{at} {value_text(dict(row) | {'mean': row['value']})}"
