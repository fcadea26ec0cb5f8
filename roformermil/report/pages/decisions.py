"""What the models' probabilities are worth as decisions, in numbers and in words."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.decisions import AT_PREVALENCE, TITLES
from roformermil.evaluation.summary_text import NONE, interval_text, value_text

FEW_SLIDES = 20  # validation slides of a class: fewer make thresholds vary widely
SHOWN_SHARES = (0, 0.1, 0.2, 0.3, 0.5)  # of validation slides that are left to a person; abstention.csv has more
LOSSES = (  # columns of probabilities.csv
    ("mean", "ci_low", "ci_high", ".3f"),
    ("scaled", "scaled_low", "scaled_high", ".3f"),
    ("difference", "difference_low", "difference_high", "+.3f"),
)
SCORES = {"log_loss": "log loss", "brier": "Brier score"}
Row = Mapping[Any, Any]


def describe_decisions(tables: Mapping[str, pd.DataFrame], unit: str = "slide") -> list[dict[str, Any]]:
    """For each data set and encoder: sentences on how operating points were chosen, and tables (header and rows) of what they
    reach, of what remains when slides are left to a person, and of temperature scaling.

    tables: `operating_points`, `decisions`, `abstention` and `probabilities`, as in the .csv files; unit: what their slides are.
    """
    groups = []
    for key, decisions in tables["decisions"].groupby(["dataset", "encoder"], sort=False):
        own = {name: table[(table[["dataset", "encoder"]] == list(key)).all(axis=1)] for name, table in tables.items()}
        groups.append(
            {
                "dataset": str(key[0]),
                "sentences": [
                    _rule_sentence(decisions, own["operating_points"], unit),
                    *_few_slides(own["operating_points"], unit),
                ],
                "points": _points_table(decisions, own["operating_points"]),
                "abstention": _abstention_table(own["abstention"]),
                "temperature": _temperature_table(own["probabilities"]),
                "is_scaled": bool((own["operating_points"].temperature != 1).any()),
            }
        )
    return groups


def _rule_sentence(decisions: pd.DataFrame, points: pd.DataFrame, unit: str) -> str:
    rule = str(points.operating_point.iloc[0])
    target = f"the highest {rule}: sensitivity + specificity − 1"
    if not rule.startswith("Youden"):
        kind, value = rule.split(" ")
        other = "specificity" if kind == "sensitivity" else "sensitivity"
        target = f"a {kind} of at least {value} and the highest {other}"
    mix = decisions.drop_duplicates("class")
    shares = ", ".join(f"{row.prevalence:.0%} {row['class']}" for _, row in mix.iterrows())
    return f"Chosen on each fold's validation {unit}s: {target}. Prevalence among the test {unit}s: {shares}."


def _few_slides(points: pd.DataFrame, unit: str) -> list[str]:
    """A sentence where thresholds were chosen on few slides of a class."""
    counts = points.groupby("class", sort=False)[["positives", "negatives"]].mean()
    name, fewest = str(counts.min(axis=1).idxmin()), counts.min(axis=1).min()
    if fewest >= FEW_SLIDES:
        return []
    kind = name if counts.loc[name].idxmin() == "positives" else f"other than {name}"
    return [
        f"There {'is' if fewest == 1 else 'are'} {fewest:.2g} validation {unit}{'' if fewest == 1 else 's'} {'of class ' if kind == name else ''}{kind} per fold: thresholds that are"
        f" chosen on so few vary widely from fold to fold, and a sensitivity or specificity is often missed on other {unit}s."
    ]


def _points_table(decisions: pd.DataFrame, points: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    several = decisions["class"].nunique() > 1
    given = decisions[decisions.metric == f"ppv{AT_PREVALENCE}"].drop_duplicates("class")
    at = " / ".join(f"{value:g}" for value in given.prevalence)
    header = [
        "model",
        *(["class"] if several else []),
        "threshold" if points.fold.nunique() == 1 else "threshold (of folds)",
        *TITLES.values(),
    ]
    header += [f"{TITLES[name]} at prevalence {at}" for name in ("ppv", "npv") if at]
    rows = []
    for (model, name), group in decisions.groupby(["model", "class"], sort=False):
        by_metric = {row["metric"]: row | {"mean": row["value"]} for row in group.to_dict("records")}
        metrics = [*TITLES, *(f"{one}{AT_PREVALENCE}" for one in ("ppv", "npv") if at)]
        cells = [value_text(by_metric[metric]) if metric in by_metric else NONE for metric in metrics]
        thresholds = points[(points.model == model) & (points["class"] == name)].threshold.dropna()
        rows.append([str(model), *([str(name)] if several else []), _range_text(thresholds), *cells])
    return header, rows


def _range_text(thresholds: pd.Series) -> str:
    if thresholds.empty:
        return NONE
    low, high = ("above 1" if value > 1 else f"{value:.2f}" for value in (thresholds.min(), thresholds.max()))
    mean = f"{thresholds.mean():.2f}" if thresholds.max() <= 1 else NONE  # above 1, nothing is positive
    if len(thresholds) == 1 and mean != NONE:  # an ensemble's
        return mean
    return f"{mean} ({low} to {high})" if low != high or mean != NONE else f"{low}: none is positive"


def _abstention_table(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """What remains when about these shares of slides are left to a person."""
    classes = [name for name in table["class"].unique() if isinstance(name, str) and name]
    rows = []
    for (model, share), group in table.groupby(["model", "share"], sort=False):
        if not any(np.isclose(float(str(share)), shown) for shown in SHOWN_SHARES):
            continue
        lines = [row | {"mean": row["value"]} for row in group.to_dict("records")]
        rows.append([str(model), f"{share:.0%}", *map(value_text, lines)])
    header = [
        "model",
        "share on validation",
        "left to a person",
        "accuracy",
        *(f"recall of {name}" for name in classes),
    ]
    return header, rows


def _temperature_table(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    header = ["model", "", "as predicted", "temperature-scaled", "lower by", "class frequencies alone", "temperature"]
    rows = []
    for row in table.to_dict("records"):
        cells = [_loss_text(row, *names) for names in LOSSES]
        rows.append(
            [row["model"], SCORES[row["metric"]], *cells, f"{row['baseline']:.3f}", f"{row['temperature']:.2f}"]
        )
    return header, rows


def _loss_text(row: Row, value: str, low: str, high: str, form: str) -> str:
    """A value of probabilities.csv with its interval: three digits, since scaling often changes only the third."""
    return f"{row[value]:{form}} {interval_text(row, form, low, high)}"
