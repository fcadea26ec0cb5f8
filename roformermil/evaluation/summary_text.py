"""`summary.md`: the paper's table, results with their intervals, and notes; and the cells of tables of metrics."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.pooled import POOLED
from roformermil.evaluation.predictions import KEYS
from roformermil.runtime.text import markdown_table
from roformermil.tasks import METRIC_TITLES as TASK_TITLES
from roformermil.tasks import task_with

Group = tuple[str, str]  # data set and encoder
COLUMNS = (("auroc", "AUROC"), ("average_precision", "average precision"))  # of the paper's table
METRIC_TITLES = {**TASK_TITLES, POOLED: "pooled AUROC"}
NONE = "–"


def mean_text(row: Mapping[Any, Any]) -> str:
    """`mean ± std` of a row, as far as there are such."""
    if not np.isfinite(row["mean"]):
        return NONE
    return f"{row['mean']:.2f}" + (f" ± {row['std']:.2f}" if np.isfinite(row["std"]) else "")


def interval_text(row: Mapping[Any, Any], form: str = ".2f", low: str = "ci_low", high: str = "ci_high") -> str:
    """`[low, high]` of a row, or that there is none."""
    if not np.isfinite([row[low], row[high]]).all():
        return "[no interval]"
    return f"[{row[low]:{form}}, {row[high]:{form}}]"


def summary_text(
    summary: pd.DataFrame,
    notes: Mapping[Group, list[str]],
    pooled: Collection[Group] = (),
    external: pd.DataFrame | None = None,
    patients: pd.DataFrame | None = None,
) -> str:
    """The content of summary.md: the paper's table where there are its metrics, each model's results with their intervals, those on external data sets beside
    those of cross-validation, each data set's notes.

    summary: as in summary.csv; pooled: data sets and encoders whose pooled AUROC is shown too; external: as in external.csv;
    patients: as in patients.csv.
    """
    lines = list(
        dict.fromkeys(f"- {note}" for group in {**dict.fromkeys(_groups(summary)), **notes} for note in notes[group])
    )  # some are of several; external slides without labels have notes alone
    parts = [paper_table(summary)] if {name for name, _ in COLUMNS} <= set(summary.metric) else []
    parts.append(results_table(summary, pooled))
    if patients is not None and len(patients):
        titles, rows = patient_rows(patients)
        parts.append(f"By patient: the mean prediction for each patient's slides\n\n{markdown_table(titles, rows)}")
    parts += [] if external is None or external.empty else [external_text(external)]
    return "\n\n".join([*parts, "\n".join(lines)]) + "\n"


def external_text(external: pd.DataFrame) -> str:
    """The main metrics of external.csv in Markdown, with a title."""
    title = f"External validation: {external_title(external)} [95% interval] in cross-validation, of the same single models on external slides, and of "
    title += f"their ensemble there; the drop is the first less the second{of_errors(external)}"
    return f"{title}\n\n{markdown_table(EXTERNAL_HEADER, external_rows(external))}"


EXTERNAL_HEADER = ["external data set", "model", "cross-validation", "single models", "ensemble", "drop"]


def external_title(external: pd.DataFrame) -> str:
    """The metrics in `external_rows`."""
    return " and ".join(METRIC_TITLES[name] for name in task_with(external.metric).transferred)


def of_errors(external: pd.DataFrame) -> str:
    """What a sentence on the drop adds where a metric in `external_rows` is the better the lower."""
    task = task_with(external.metric)
    errors = [METRIC_TITLES[name] for name in task.transferred if name in task.lower_is_better]
    return f" (of {' and '.join(errors)} the reverse: above 0 is worse here too)" if errors else ""


def external_rows(external: pd.DataFrame) -> list[list[str]]:
    """The cells below EXTERNAL_HEADER: of each external data set and model, its main metrics and their drop."""
    rows: list[list[str]] = []
    if external.empty:
        return rows
    told, several_levels = task_with(external.metric).transferred, external.level.nunique() > 1
    for row in external[external.metric.isin(told)].to_dict("records"):
        values = [_bounded_text(row, name) for name in ("internal", "members", "external")]
        drop = difference_text(row, "drop", "drop")
        model = row["model"] + (f", {METRIC_TITLES[row['metric']]}" if len(told) > 1 else "")
        model += ", by patient" if several_levels and row["level"] == "patient" else ""
        rows.append([f"{row['dataset']}, trained on {row['trained_on']}", model, *values, drop])
    return rows


def _bounded_text(row: Mapping[Any, Any], name: str) -> str:
    if not np.isfinite(row[name]):
        return NONE
    return f"{row[name]:.2f} {interval_text(row, low=f'{name}_low', high=f'{name}_high')}"


def patient_rows(patients: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of a table of results by patient. patients: as in patients.csv."""
    metrics = [*task_with(patients.metric).reported, *([POOLED] if POOLED in set(patients.metric) else [])]
    titles = ["data set", "model", *(f"{METRIC_TITLES[name]} [95% interval]" for name in metrics)]
    rows = []
    for key, of_model in patients.groupby(KEYS, sort=False):
        dataset, encoder, model = map(str, key)
        by_metric = {row["metric"]: row for row in of_model.to_dict("records")}
        rows.append([_group_title((dataset, encoder)), model, *(value_text(by_metric[name]) for name in metrics)])
    return titles, rows


def paper_table(summary: pd.DataFrame) -> str:
    """The paper's table in Markdown: models down, data sets across, mean ± std over folds."""
    cells = {tuple(row[key] for key in [*KEYS, "metric"]): mean_text(row) for row in summary.to_dict("records")}
    groups, rows = _groups(summary), []
    for model in summary.model.unique():
        keys = [[key for name, _ in COLUMNS if (key := (*group, model, name)) in cells] for group in groups]
        rows.append([model, *(" / ".join(cells[key] for key in group) or NONE for group in keys)])
    titles = " / ".join(title for _, title in COLUMNS)
    table = markdown_table(["model", *map(_group_title, groups)], rows)
    return f"{titles}, mean ± standard deviation over folds\n\n{table}"


def results_table(summary: pd.DataFrame, pooled: Collection[Group] = ()) -> str:
    """Each model's headline metrics with their intervals in Markdown; the main one with shuffled positions, and AUROC of all folds
    together, where a model has the one and `pooled` has its data set."""
    task, pooled = task_with(summary.metric), pooled if POOLED in set(summary.metric) else ()
    title = METRIC_TITLES[task.main]
    by_model: dict[tuple[str, str, str], dict[str, Mapping[Any, Any]]] = {}
    for row in summary.to_dict("records"):
        by_model.setdefault((row["dataset"], row["encoder"], row["model"]), {})[row["metric"]] = row
    rows = [by_metric[task.main] for by_metric in by_model.values()]
    columns = {"data set": [_group_title(key[:2]) for key in by_model], "model": [key[2] for key in by_model]}
    for name in task.headline:
        columns[f"{METRIC_TITLES[name]} [95% interval]"] = [value_text(one[name]) for one in by_model.values()]
    if any(row["seeds"] > 1 for row in rows):
        columns[f"std of {title} over seeds"] = [number_text(row["seed_std"]) for row in rows]
    use_position = any(np.isfinite(row["shuffled"]) for row in rows)
    if use_position:
        columns[f"{title}, positions shuffled"] = [number_text(row["shuffled"]) for row in rows]
        columns["difference [95% interval]"] = [difference_text(row) for row in rows]
    if pooled:
        columns["pooled AUROC [95% interval]"] = [
            value_text(one[POOLED]) if key[:2] in pooled else NONE for key, one in by_model.items()
        ]
    if pooled and use_position:
        columns["pooled, shuffled"] = [
            number_text(one[POOLED]["shuffled"]) if key[:2] in pooled else NONE for key, one in by_model.items()
        ]
    titles = ["Means over folds"]
    titles += ["with tile positions shuffled within each slide"] if use_position else []
    titles += ["pooled: of the test slides of all folds together"] if pooled else []
    return f"{'; '.join(titles)}\n\n{markdown_table(list(columns), zip(*columns.values(), strict=True))}"


def value_text(row: Mapping[Any, Any]) -> str:
    """`mean [low, high]` of a row, as far as there are such."""
    return f"{row['mean']:.2f} {interval_text(row)}" if np.isfinite(row["mean"]) else NONE


def difference_text(row: Mapping[Any, Any], value: str = "shuffled_difference", bounds: str = "difference") -> str:
    """A difference with its interval, `{bounds}_low` to `{bounds}_high`; by default the one that shuffling makes."""
    if not np.isfinite(row[value]):
        return NONE
    return f"{row[value]:+.2f} {interval_text(row, '+.2f', f'{bounds}_low', f'{bounds}_high')}"


def number_text(value: float) -> str:
    """A number, or that there is none."""
    return f"{value:.2f}" if np.isfinite(value) else NONE


def _groups(summary: pd.DataFrame) -> list[Group]:
    return list(dict.fromkeys(zip(summary.dataset, summary.encoder, strict=True)))


def _group_title(group: Group) -> str:
    return f"{group[0]} ({group[1]})"
