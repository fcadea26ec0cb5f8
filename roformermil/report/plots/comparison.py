"""Differences between models."""

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from roformermil.report.plots import save_plot

NAMES = {"corrected_t": "corrected t", "delong": "DeLong"}


def plot_comparisons(table: pd.DataFrame, path: Path) -> None:
    """AUROC differences of every pair of models with 95% intervals, a data set a panel; p values after Holm's correction."""
    table = table[table.metric == "auroc"]
    groups = list(table.groupby(["dataset", "encoder"], sort=False))
    tallest = max([len(group) for _, group in groups], default=1)
    figure, axes = plt.subplots(
        1, max(1, len(groups)), figsize=(0.6 + 5.2 * max(1, len(groups)), 1.2 + 0.3 * tallest), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for panel, ((dataset, encoder), group) in zip(axes[0], groups, strict=False):
        labels = []
        for k, row in enumerate(group.to_dict("records")):
            colour = "tab:blue" if row["test"] == "corrected_t" else "tab:green"
            error = [[row["difference"] - row["ci_low"]], [row["ci_high"] - row["difference"]]]
            panel.errorbar(row["difference"], k, xerr=error, fmt="o", ms=4, capsize=2, color=colour)
            p = f"Holm's p = {row['p_holm']:.2g}" if pd.notna(row["p_holm"]) else "cannot be tested"
            labels.append(f"{row['model']} − {row['against']}, {NAMES[row['test']]}, {p}")
        panel.set_yticks(range(len(labels)), labels, fontsize=7)
        panel.invert_yaxis()
        panel.axvline(0, color="0.6", lw=0.8)
        panel.tick_params(axis="x", labelsize=7)
        panel.set_xlabel("difference in AUROC, 95% interval", fontsize=8)
        panel.set_title(f"{dataset} ({encoder})", fontsize=10)
    save_plot(figure, path)
