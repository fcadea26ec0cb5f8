"""The search's plot: the winner's curve, and what test slides say of the winner."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from roformermil.studies.search_space import DEFAULT

PANELS = {
    "auroc": ("auroc", "AUROC"),
    "log_loss": ("loss", "log loss (lower is better)"),
}  # column of the trials, title
COLOURS = {DEFAULT: "black", "chosen": "tab:blue"}  # of test slides
VALIDATION = "tab:orange"


def plot_search(table: pd.DataFrame, trials: pd.DataFrame, score: str) -> Figure:
    """AUROC and log loss of the best setting so far against the trainings spent, on validation slides; beside it, with 95%
    intervals, the default and the chosen settings on test slides. A data set and model a row.

    table: search.csv; trials: search_trials.csv; score: as `search.score`, which chose.
    """
    keys = ["dataset", "encoder", "model"]
    groups = list(table.groupby(keys, sort=False))
    figure = Figure(figsize=(9, 0.6 + 3.2 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(PANELS), squeeze=False)
    for line, (key, group) in zip(panels, groups, strict=True):
        tried = trials[(trials[keys] == list(key)).all(axis=1)]
        for panel, (metric, (column, title)) in zip(line, PANELS.items(), strict=True):
            chooses = " (chooses)" if column == score else ""
            panel.set_title(f"{key[0]}, {key[2]}: {title}{chooses}", fontsize=9)
            _draw_winners(panel, tried, column)
            _draw_tests(panel, group[group.metric == metric], tried.trial.max())
    panels[0, 0].legend(fontsize=7, loc="best")
    figure.suptitle("Best setting so far, by validation slides; thin: each fold, thick: their mean", fontsize=10)
    return figure


def _draw_winners(panel: Axes, trials: pd.DataFrame, column: str) -> None:
    """The winner's value on validation slides after each training."""
    values = trials.set_index(["fold", "setting"])[column]
    winners = trials.assign(
        value=[values[fold, winner] for fold, winner in zip(trials.fold, trials.winner, strict=True)]
    )
    curves = winners.pivot(index="trial", columns="fold", values="value")
    panel.plot(curves.index, curves, color=VALIDATION, lw=0.6, alpha=0.5, drawstyle="steps-post")
    panel.plot(
        curves.index,
        curves.mean(axis=1),
        color=VALIDATION,
        lw=2,
        marker=".",
        drawstyle="steps-post",
        label="validation, winner",
    )
    panel.set_xlabel("trainings per fold", fontsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.tick_params(labelsize=7)
    panel.grid(alpha=0.3)


def _draw_tests(panel: Axes, rows: pd.DataFrame, spent: int) -> None:
    """The default, after its one training, and the chosen settings, after all, on test slides."""
    for row in rows.to_dict("records"):
        setting, mean = row["setting"], row["mean"]
        panel.errorbar(
            1 if setting == DEFAULT else spent,
            mean,
            [[mean - row["ci_low"]], [row["ci_high"] - mean]],
            fmt="o",
            color=COLOURS[setting],
            markersize=5,
            capsize=3,
            label=f"test, {setting}",
        )
