"""`ablation.md`: the ablation's table for people."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd

from roformermil.bags.folds import PARTS
from roformermil.evaluation.pooled import POOLED
from roformermil.evaluation.summary_text import difference_text, interval_text
from roformermil.runtime.text import markdown_table
from roformermil.studies.strata import STRATA
from roformermil.tasks import METRIC_TITLES, task_with

Group = tuple[str, str]  # data set and encoder
Row = Mapping[Any, Any]  # of ablation.csv
NONE = "–"
LEGEND = """Intervals are of 95% over patients, means over seeds. They do not account for other training runs, nor for the
number of variants: of twenty that change nothing, one is expected to have a difference whose interval excludes 0. With
shuffled positions a model that uses them does worse; a variant without positions has no such value. A model that does
better in training than in validation and test overfits. On plateau: trainings whose loss stayed at
that of guessing by class frequencies. sparse, dense: test slides whose tiles have fewer or more neighbours than in the data
set's median slide; small, large: those with fewer or more tiles. Only folds with slides of every class count; (k) says
that k folds do where not all do. Average precision, and intervals by stratum: ablation.csv."""


def ablation_text(
    table: pd.DataFrame, base: str, notes: Mapping[Group, list[str]], few_tests: Collection[Group] = ()
) -> str:
    """Markdown tables of each data set, variants down: AUROC, or the main metric of another task, by part, with shuffled positions and against `base`; by stratum.

    table: ablation.csv. notes: each data set's and encoder's number of slides and cautions. few_tests: those whose folds test
    few slides or patients, where the pooled AUROC is shown too.
    """
    sections, main = [], task_with(table.metric).main
    title = METRIC_TITLES[main]
    for (dataset, encoder), group in table.groupby(["dataset", "encoder"], sort=False):
        key, folds = (str(dataset), str(encoder)), int(group.folds.max())
        sections += [
            f"## {dataset} ({encoder}), {folds} folds, against {base}",
            f"{title}, mean over folds\n\n{_metric_table(group, base, main)}",
        ]
        if key in few_tests and POOLED in set(group.metric):
            sections.append(f"Pooled AUROC, all test slides together\n\n{_metric_table(group, base, POOLED)}")
        sections.append(
            f"{title}, mean over folds, by tissue density and slide size\n\n{_strata_table(group, folds, main)}"
        )
        sections.append("\n".join(f"- {line}" for line in notes[key]))
    return "\n\n".join([*sections, LEGEND]) + "\n"


def _metric_table(group: pd.DataFrame, base: str, metric: str) -> str:
    variants = _variants(group, metric)
    tests = [variant["test", "all"] for variant in variants]
    columns = _names(tests)
    if metric != POOLED:  # of the training and validation slides of all folds together, it would say little
        columns["parameters"] = [f"{row['parameters']:,}" for row in tests]
        columns["on plateau"] = [
            f"{row['on_plateau']} of {row['trainings']}" * bool(row["on_plateau"]) for row in tests
        ]
        columns |= {part: [_number(variant[part, "all"]["mean"]) for variant in variants] for part in PARTS[:2]}
    columns |= {
        "test [95% interval]": [f"{_number(row['mean'])} {interval_text(row)}" for row in tests],
        "std over seeds": [_number(row["seed_std"]) for row in tests],
        "test − base": ["" if row["model"] == base else _change(row, "base_difference", "base") for row in tests],
        "positions shuffled": [_number(row["shuffled"]) for row in tests],
        "test − shuffled": [_change(row, "shuffled_difference", "difference") for row in tests],
    }
    return _table({title: cells for title, cells in columns.items() if any(cells)})


def _strata_table(group: pd.DataFrame, folds: int, metric: str) -> str:
    variants = _variants(group, metric)
    columns = _names([variant["test", "all"] for variant in variants])
    return _table(
        columns | {name: [_stratum(variant.get(("test", name)), folds) for variant in variants] for name in STRATA}
    )


def _variants(group: pd.DataFrame, metric: str) -> list[dict[tuple[str, str], Row]]:
    """The rows of each variant, by part and slides."""
    variants = group[group.metric == metric].groupby(["axis", "name"], sort=False)
    return [{(row["part"], row["slides"]): row for row in rows.to_dict("records")} for _, rows in variants]


def _names(rows: list[Row]) -> dict[str, list[str]]:
    return {"axis": [row["axis"] for row in rows], "variant": [row["name"] for row in rows]}


def _table(columns: Mapping[str, list[str]]) -> str:
    return markdown_table(list(columns), zip(*columns.values(), strict=True))


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else ""


def _change(row: Row, name: str, interval: str) -> str:
    """A difference with its interval."""
    return difference_text(row, name, interval) if np.isfinite(row[name]) else ""


def _stratum(row: Row | None, folds: int) -> str:
    """A mean, and over how many folds where that is not all."""
    if row is None or not row["folds"]:
        return NONE
    return f"{row['mean']:.2f}" + (f" ({row['folds']})" if row["folds"] < folds else "")
