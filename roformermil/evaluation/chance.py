"""Whether models do better than guessing, in a sentence."""

from typing import TYPE_CHECKING

import numpy as np

from roformermil.tasks import METRIC_TITLES, task_with

if TYPE_CHECKING:  # heat maps are drawn where there is no pandas (envs/features.yaml)
    import pandas as pd


def chance_warning(
    name: str, mean: float | None, low: float | None, high: float | None, *, metric: str = "auroc"
) -> str:
    """That a model is not better than chance; "" for one that is.

    name: the model's; mean, low, high: its main metric and the 95% interval, None where there is none; metric: which one that
    is. Without an interval, as with a perfect score or equal predictions for all slides, the mean counts.
    """
    if mean is None:
        return ""
    task, title = task_with([metric]), METRIC_TITLES[metric]
    if low is None or high is None:
        return "" if mean > task.chance else f"{name} is not better than {task.guess}: its {title} is {mean:.2f}"
    value = f"its {title} is {mean:.2f}, 95% interval {low:.2f} to {high:.2f}"
    if high < task.chance:
        return f"{name} is worse than {task.guess}: {value}"
    return f"{name} is not distinguishable from {task.guess}: {value}" if low <= task.chance else ""


def chance_notes(summary: "pd.DataFrame") -> dict[tuple[str, str], str]:
    """By data set and encoder, the models that `chance_warning` warns of, in one sentence; without those that have none.

    summary: as in summary.csv.
    """
    warned: dict[tuple[str, str], list[str]] = {}
    task = task_with(summary.metric)
    for row in summary[summary.metric == task.main].to_dict("records"):
        values = (row[name] if np.isfinite(row[name]) else None for name in ("mean", "ci_low", "ci_high"))
        if chance_warning(row["model"], *values, metric=task.main):
            warned.setdefault((row["dataset"], row["encoder"]), []).append(row["model"])
    return {
        group: f"{group[0]}: not measurably better than {task.guess}: {', '.join(names)}"
        for group, names in warned.items()
    }
