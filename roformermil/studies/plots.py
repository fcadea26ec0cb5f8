"""Figures of the studies."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import FormatStrFormatter, LogLocator

from roformermil.report.plots import save_plot

ROWS: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    # title, then (part, slides, colour, marker) of each series
    ("by part", (("train", "all", "0.6", "v"), ("validation", "all", "tab:orange", "s"), ("test", "all", "tab:blue", "o"))),
    ("test, by tissue density", (("test", "sparse", "tab:green", "o"), ("test", "dense", "tab:purple", "o"))),
    ("test, by slide size", (("test", "small", "tab:cyan", "o"), ("test", "large", "tab:red", "o"))),
)  # fmt: skip


def plot_ablation(table: pd.DataFrame, base: str, path: Path) -> None:
    """AUROC of every arm with its 95% interval: an axis of the ablation a column; by part, density and size down."""
    table = table[table.metric == "auroc"]
    groups = list(table.groupby(["dataset", "encoder"]))
    axes = list(table.axis.unique())
    size = (1.5 + 3.2 * len(axes), 0.8 + 2.6 * len(ROWS) * len(groups))
    figure, panels = plt.subplots(
        len(ROWS) * len(groups), len(axes), figsize=size, squeeze=False, sharey=True, layout="constrained"
    )
    for number, ((dataset, _), group) in enumerate(groups):
        for row, (title, series) in enumerate(ROWS):
            line = panels[number * len(ROWS) + row]
            for panel, axis in zip(line, axes, strict=True):
                _points(panel, group[group.axis == axis], series, base)
                panel.set_title(f"{dataset}: {axis}" if row == 0 else "", fontsize=10)
            line[0].set_ylabel(f"AUROC, {title}", fontsize=8)
            line[-1].legend(fontsize=7, loc="lower left", bbox_to_anchor=(1.0, 0.0))
    figure.suptitle(
        f"Arms differ from {base} (shaded) in one thing; mean over shared folds, 95% intervals", fontsize=10
    )
    save_plot(figure, path)


def _points(panel: Any, arms: pd.DataFrame, series: tuple[tuple[str, str, str, str], ...], base: str) -> None:
    names = list(arms.name.unique())
    for number, (part, slides, colour, marker) in enumerate(series):
        chosen = arms[(arms.part == part) & (arms.slides == slides)].set_index("name").loc[names]
        x = [k + 0.18 * (number - (len(series) - 1) / 2) for k in range(len(names))]
        error = [chosen["mean"] - chosen.ci_low, chosen.ci_high - chosen["mean"]]
        label = part if slides == "all" else slides
        panel.errorbar(x, chosen["mean"], error, fmt=marker, color=colour, markersize=4, capsize=2, lw=1, label=label)
    for k, name in enumerate(names):
        if (arms[arms.name == name].model == base).all():
            panel.axvspan(k - 0.4, k + 0.4, color="0.93", zorder=0)
    panel.axhline(0.5, color="0.8", lw=0.8, zorder=0)
    panel.set_xticks(range(len(names)), names, fontsize=7, rotation=20, ha="right")
    panel.set_xlim(-0.5, len(names) - 0.5)
    panel.set_ylim(-0.03, 1.05)
    panel.tick_params(axis="y", labelsize=7)


def plot_overhead(table: pd.DataFrame, path: Path) -> None:
    """Seconds a training step, seconds a slide in inference, peak memory and GPU utilisation against tiles a slide."""
    measures = [
        ("step_seconds", "seconds a training step"),
        ("inference_seconds", "seconds a slide, inference"),
        ("step_memory_gb", "peak memory of a step, GB"),
        ("step_gpu_utilisation", "GPU utilisation in training, %"),
    ]
    known = table[table["mean"] > 0].sort_values("tiles")  # not what ran out of memory
    measures = [m for m in measures if (known.measure == m[0]).any()]  # no GPU, no utilisation
    figure, panels = plt.subplots(1, max(1, len(measures)), figsize=(13, 4), layout="constrained", squeeze=False)
    for panel, (measure, title) in zip(panels[0], measures, strict=False):
        for number, (model, lines) in enumerate(known[known.measure == measure].groupby("model", sort=False)):
            error = [lines["mean"] - lines.ci_low.clip(lower=0), lines.ci_high - lines["mean"]]
            style = "-" if str(model).startswith(("ro-", "transmil")) else "--"  # tiles see each other, or do not
            panel.errorbar(
                lines.tiles, lines["mean"], error,
                label=model, color=f"C{number}", ls=style, marker="o", markersize=3, capsize=2,
            )  # fmt: skip
        panel.set(title=title, xlabel="tiles a slide", xscale="log", yscale="linear" if "%" in title else "log")
        sizes = sorted(known.tiles.unique())
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.xaxis.minorticks_off()
        if panel.get_yscale() == "log":  # a decade alone would label one tick or none
            for part, subs in (("major", (1.0,)), ("minor", (2.0, 5.0))):
                getattr(panel.yaxis, f"set_{part}_locator")(LogLocator(subs=subs))
                getattr(panel.yaxis, f"set_{part}_formatter")(FormatStrFormatter("%g"))
        panel.grid(alpha=0.3)
    if measures:
        panels[0][0].legend(fontsize=7)
    save_plot(figure, path)
