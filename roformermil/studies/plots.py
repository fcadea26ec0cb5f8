"""Plots of the studies."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator

from roformermil.bags.folds import PARTS
from roformermil.studies.strata import STRATA
from roformermil.studies.variants import BASE
from roformermil.tasks import METRIC_TITLES, task_with

SHUFFLED = "test, positions shuffled"
ROWS = {"by part": (*PARTS, SHUFFLED), "test, by tissue density": STRATA[:2], "test, by slide size": STRATA[2:]}
COLOURS = ("0.6", "tab:orange", "tab:blue", "black", "tab:green", "tab:purple", "tab:cyan", "tab:red")
STYLES = dict(zip((*PARTS, SHUFFLED, *STRATA), zip(COLOURS, "vsoxoooo", strict=True), strict=True))  # colour and marker
DOTTED = {"color": COLOURS[PARTS.index("test")], "ls": ":", "lw": 0.8, "zorder": 0}
MEASURES = {
    "step_seconds": "seconds per training step",
    "inference_seconds": "seconds per slide, inference",
    "step_memory_gb": "peak memory of a step, GB",
    "step_gpu_utilisation": "GPU utilisation in training, %",
}


def plot_ablation(table: pd.DataFrame, base: str) -> Figure:
    """AUROC, or the main metric of another task, of every variant with its 95% interval: an axis of the ablation across; part, density and size down.
    table: ablation.csv; base: id of the varied model."""
    main = task_with(table.metric).main
    table = table[table.metric == main]
    groups, axes = table.groupby(["dataset", "encoder"]), [axis for axis in table.axis.unique() if axis != BASE]
    rows = [(dataset, group, *row) for (dataset, _), group in groups for row in ROWS.items()]
    figure = Figure(figsize=(1.5 + 3.2 * len(axes), 0.8 + 2.6 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), len(axes), squeeze=False, sharey=True)
    for line, (dataset, group, title, series) in zip(panels, rows, strict=True):
        for panel, axis in zip(line, axes, strict=True):
            _draw_variants(panel, group[group.axis == axis], series, base)
            if SHUFFLED in series:
                panel.set_title(f"{dataset}: {axis}", fontsize=10)
                panel.axhline(_values(group[group.model == base], "test")["mean"].iloc[0], **DOTTED)
        line[0].set_ylabel(f"{METRIC_TITLES[main]}, {title}", fontsize=8)
        line[-1].legend(fontsize=7, loc="lower left", bbox_to_anchor=(1.0, 0.0))
    title = (
        f"Each variant differs from {base} (shaded, dotted) in one thing; mean over folds, 95% intervals over patients"
    )
    figure.suptitle(title, fontsize=10)
    return figure


def _draw_variants(panel: Axes, variants: pd.DataFrame, series: Sequence[str], base: str) -> None:
    names = list(variants.name.unique())
    for number, label in enumerate(series):
        chosen, (colour, marker) = _values(variants, label).reindex(names), STYLES[label]
        x = [k + 0.18 * (number - (len(series) - 1) / 2) for k in range(len(names))]
        error = [chosen["mean"] - chosen.ci_low, chosen.ci_high - chosen["mean"]]
        panel.errorbar(x, chosen["mean"], error, fmt=marker, color=colour, markersize=4, capsize=2, lw=1, label=label)
    for k, name in enumerate(names):
        if (variants[variants.name == name].model == base).all():
            panel.axvspan(k - 0.4, k + 0.4, color="0.93", zorder=0)
    panel.axhline(0.5, color="0.8", lw=0.8, zorder=0)
    panel.set_xticks(range(len(names)), names, fontsize=7, rotation=20, ha="right")
    panel.set_xlim(-0.5, len(names) - 0.5)
    panel.set_ylim(-0.03, 1.05)
    panel.tick_params(axis="y", labelsize=7)


def _values(variants: pd.DataFrame, label: str) -> pd.DataFrame:
    """The mean and interval of a series by variant's name."""
    if label == SHUFFLED:
        tests = _values(variants, "test")
        return tests.assign(mean=tests.shuffled, ci_low=np.nan, ci_high=np.nan)
    part, slides = (label, "all") if label in PARTS else ("test", label)
    return variants[(variants.part == part) & (variants.slides == slides)].set_index("name")


def plot_overhead(table: pd.DataFrame) -> Figure:
    """Seconds per training step and per slide in inference, peak memory and GPU utilisation against tiles per slide.
    table: overhead.csv. A measure that is nowhere known, such as utilisation without a GPU, has no panel."""
    known = table[table["mean"] > 0].sort_values("tiles")  # without what ran out of memory
    measures = [name for name in MEASURES if (known.measure == name).any()]
    figure = Figure(figsize=(13, 4), layout="constrained")
    panels = figure.subplots(1, max(1, len(measures)), squeeze=False)[0]
    for panel, measure in zip(panels, measures, strict=False):
        for number, (model, lines) in enumerate(known[known.measure == measure].groupby("model", sort=False)):
            error = [lines["mean"] - lines.ci_low.clip(lower=0), lines.ci_high - lines["mean"]]
            mixes_tiles = str(model).startswith(("ro-", "transmil"))
            style = {"color": f"C{number}", "ls": "-" if mixes_tiles else "--", "marker": "o", "markersize": 3}
            panel.errorbar(lines.tiles, lines["mean"], error, label=str(model), capsize=2, **style)
        title = MEASURES[measure]
        panel.set(title=title, xlabel="tiles per slide", xscale="log", yscale="linear" if "%" in title else "log")
        sizes = sorted(known.tiles.unique())
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.xaxis.minorticks_off()
        if panel.get_yscale() == "log":  # decades alone would label one tick or none
            panel.yaxis.set(major_locator=LogLocator(), major_formatter=FormatStrFormatter("%g"))
            panel.yaxis.set(minor_locator=LogLocator(subs=(2.0, 5.0)), minor_formatter=FormatStrFormatter("%g"))
        panel.grid(alpha=0.3)
    if measures:
        panels[0].legend(fontsize=7)
    return figure
