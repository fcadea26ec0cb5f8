"""Whether position counted: what shuffling the tiles' positions does to a metric, in a sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.intervals import ROUND_OFF
from roformermil.evaluation.summary_text import METRIC_TITLES, interval_text

LARGE = 0.1  # of AUROC: what the paper reports for Ro-ABMIL over ABMIL on Camelyon16


def position_sentence(row: Mapping[Any, Any]) -> str:
    """What a row of summary.csv says of the model's use of position; "" for a model that uses none.

    "Does not use position" is only said where the interval rules out an effect of LARGE.
    """
    difference, low, high = (row[name] for name in ("shuffled_difference", "difference_low", "difference_high"))
    if not np.isfinite(difference):
        return ""
    shuffling, metric = "Shuffling tile positions", METRIC_TITLES[row["metric"]]
    interval = interval_text(row, low="difference_low", high="difference_high")
    change = f"{'lowers' if difference > 0 else 'raises'} {metric} by {abs(difference):.2f}"
    if not np.isfinite([low, high]).all():
        if abs(difference) < ROUND_OFF:
            return f"{shuffling} makes no difference to {metric}: this model does not use position here."
        return f"{shuffling} {change}; too few patients for an interval."
    if low > 0:
        return f"{shuffling} {change} {interval}: this model uses position."
    if high < 0:
        return f"{shuffling} {change} [{-high:.2f}, {-low:.2f}]: this model uses position, to its disadvantage."
    measured = f"{shuffling} makes no measurable difference to {metric} ({difference:.2f} {interval})"
    if max(-low, high) > LARGE:
        return f"{measured}, but these patients are too few to exclude a difference of {LARGE}."
    return f"{measured}: this model does not use position here."


def position_notes(summary: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """By data set and encoder, the sentence on AUROC of each model that uses position, with the names of both.

    summary: as in summary.csv.
    """
    notes: dict[tuple[str, str], list[str]] = {}
    for row in summary[summary.metric == "auroc"].to_dict("records"):
        if sentence := position_sentence(row):
            group = notes.setdefault((row["dataset"], row["encoder"]), [])
            group.append(f"{row['dataset']}, {row['model']}: {sentence}")
    return notes
