"""Whether position counted: what shuffling the tiles' positions does to a metric, in a sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.intervals import ROUND_OFF
from roformermil.evaluation.pooled import POOLED
from roformermil.evaluation.predictions import KEYS
from roformermil.evaluation.summary_text import METRIC_TITLES, interval_text
from roformermil.tasks import Classification, task_with

LARGE = 0.1  # of AUROC, C-index and R2: what the paper reports for Ro-ABMIL over ABMIL on Camelyon16


def position_sentence(row: Mapping[Any, Any]) -> str:
    """What a row of summary.csv says of the model's use of position; "" for a model that uses none.

    "Does not use position" is only said of a model that is better than guessing, and where the interval rules out an effect of
    LARGE: a model that guesses does so wherever the tiles lie.
    """
    difference, low, high = (row[name] for name in ("shuffled_difference", "difference_low", "difference_high"))
    if not np.isfinite(difference):
        return ""
    shuffling, metric = "Shuffling tile positions", METRIC_TITLES[row["metric"]]
    interval = interval_text(row, low="difference_low", high="difference_high")
    change = f"{'lowers' if difference > 0 else 'raises'} {metric} by {abs(difference):.2f}"
    if not np.isfinite([low, high]).all():
        if abs(difference) < ROUND_OFF:
            return f"{shuffling} makes no difference to {metric}, which is {row['mean']:.2f} either way: this metric cannot tell."
        return f"{shuffling} {change}; too few patients for an interval."
    if low > 0:
        return f"{shuffling} {change} {interval}: this model uses position."
    if high < 0:
        return f"{shuffling} {change} [{-high:.2f}, {-low:.2f}]: this model uses position, to its disadvantage."
    measured = f"{shuffling} makes no measurable difference to {metric} ({difference:.2f} {interval})"
    if max(-low, high) > LARGE:
        return f"{measured}, but these patients are too few to exclude a difference of {LARGE}."
    task = Classification() if row["metric"] == POOLED else task_with([row["metric"]])
    if row["metric"] in (task.main, POOLED) and row["ci_low"] <= task.chance:
        return f"{measured}, but on these slides this model is not distinguishable from {task.guess}."
    return f"{measured}: this model does not use position here."


def position_notes(summary: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """By data set and encoder, the sentence on the main metric of each model that uses position, with the names of both: on pooled AUROC
    where folds have none of their own.

    summary: as in summary.csv.
    """
    notes: dict[tuple[str, str], list[str]] = {}
    for (dataset, encoder, model), rows in summary.groupby(KEYS, sort=False):
        by_metric = {row["metric"]: row for row in rows.to_dict("records")}
        metrics = [name for name in (task_with(by_metric).main, POOLED) if name in by_metric]
        if sentence := next(filter(None, (position_sentence(by_metric[name]) for name in metrics)), ""):
            notes.setdefault((str(dataset), str(encoder)), []).append(f"{dataset}, {model}: {sentence}")
    return notes
