"""Differences between models."""

import pandas as pd
from matplotlib.figure import Figure

from roformermil.runtime.text import p_text
from roformermil.tasks import METRIC_TITLES, task_with

TESTS = {
    "corrected_t": ("corrected t", "tab:blue"),
    "jackknife": ("jackknife", "tab:blue"),
    "delong": ("DeLong", "tab:green"),
}


def plot_comparisons(table: pd.DataFrame) -> Figure:
    """Differences in the main metric of every pair of models with 95% intervals, a panel per data set; p values after Holm's
    correction. table: comparisons.csv."""
    main = task_with(table.metric).main if len(table) else ""
    groups = list(table[table.metric == main].groupby(["dataset", "encoder"], sort=False))
    tallest, count = max([len(group) for _, group in groups], default=1), max(1, len(groups))
    figure = Figure(figsize=(0.6 + 6.2 * count, 1.2 + 0.3 * tallest), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)
    for panel, ((dataset, encoder), group) in zip(axes[0], groups, strict=False):
        labels = []
        for k, row in enumerate(group.to_dict("records")):
            test, colour = TESTS[row["test"]]
            error = [[row["difference"] - row["ci_low"]], [row["ci_high"] - row["difference"]]]
            panel.errorbar(row["difference"], k, xerr=error, fmt="o", ms=4, capsize=2, color=colour)
            p = f"Holm's {p_text(row['p_holm'])}" if pd.notna(row["p_holm"]) else "no p value"
            labels.append(f"{row['model']} − {row['against']}, {test}, {p}")
        panel.set_yticks(range(len(labels)), labels, fontsize=9)
        panel.set_ylim(len(labels) - 0.4, -0.6)  # the first pair on top
        panel.axvline(0, color="0.6", lw=0.8)
        panel.tick_params(axis="x", labelsize=9)
        panel.set_xlabel(f"difference in {METRIC_TITLES[main]}, 95% interval", fontsize=9)
        panel.set_title(f"{dataset} ({encoder})", fontsize=10)
    return figure
