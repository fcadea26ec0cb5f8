"""Survival of the patients whom a model calls of low and of high risk."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from roformermil.evaluation.kaplan_meier import GROUPS, group_curves, log_rank
from roformermil.evaluation.predictions import OutOfFold
from roformermil.report.plots import make_panels
from roformermil.runtime.text import p_text

COLOURS = dict(zip(GROUPS, ("tab:blue", "tab:red"), strict=True))
TABLE = 0.2  # of the height of a panel, for the numbers at risk below it


def plot_survival(divided: Sequence[tuple[OutOfFold, np.ndarray]]) -> Figure:
    """Kaplan-Meier curves of both risk groups with 95% bands, a tick for each censored patient, and below the numbers at risk; a column
    per model, whose title has the log-rank test.

    divided: of each model the patients, and the risk (n,) that divides low from high, as of `risk_groups`.
    """
    models = [patients for patients, _ in divided]
    figure, axes = make_panels([one.model for one in models], heights=(1, TABLE))
    for (above, below), (patients, cuts) in zip(axes.T, divided, strict=True):
        is_high = patients.predictions[:, 0] > cuts
        _, p = log_rank(patients.targets[:, 0], patients.targets[:, 1] > 0, is_high)
        above.set_title(f"{patients.model}\n{_test_text(p)}", fontsize=9)
        _draw_curves(above, below, patients, cuts)
    axes[0, 0].set_ylabel("patients without the event", fontsize=8)
    axes[0, 0].legend(fontsize=7, loc="upper right")
    axes[1, 0].set_yticks(range(len(GROUPS)), [f"{name} risk" for name in GROUPS], fontsize=7)
    axes[1, 0].tick_params(axis="y", length=0, pad=10)
    at = "the members' median risks" if models[0].trained_on else "the median risk of each fold's validation patients"
    which = "external patients" if models[0].trained_on else "test patients of all folds"
    text = f"{which}, divided at {at}"
    figure.suptitle(f"{models[0].dataset} ({models[0].encoder}): {text}", fontsize=10)
    return figure


def _test_text(p: float) -> str:
    return (
        f"log-rank test, {p_text(p)}" if np.isfinite(p) else "no log-rank test: one group is empty, or without an event"
    )


def _draw_curves(above: Axes, below: Axes, patients: OutOfFold, cuts: np.ndarray) -> None:
    last = patients.targets[:, 0].max()
    times = [time for time in MaxNLocator(5).tick_values(0, last) if 0 <= time <= last]
    below.set(xlim=(-0.02 * last, 1.02 * last), ylim=(len(GROUPS) - 0.4, -0.6))
    below.set_yticks([])
    below.grid(False)
    for place, (name, curve) in enumerate(group_curves(patients, cuts).items()):
        if curve.empty:
            continue
        above.step(curve.time, curve.survival, where="post", color=COLOURS[name], lw=1.4, label=f"{name} risk")
        above.fill_between(curve.time, curve.ci_low, curve.ci_high, step="post", color=COLOURS[name], alpha=0.15, lw=0)
        censored = curve[curve.censored > 0]
        above.plot(censored.time, censored.survival, "|", color=COLOURS[name], ms=5, mew=0.7)
        inside = (patients.predictions[:, 0] > cuts) == (name == GROUPS[1])
        for time in times:
            count = int((patients.targets[inside, 0] >= time).sum())
            below.text(time, place, f"{count}", ha="center", va="center", fontsize=7, color=COLOURS[name])
    above.set(xlim=below.get_xlim(), ylim=(-0.02, 1.02), xticks=times)
    above.set_xticklabels([])
    below.set_xticks(times, [f"{time:g}" for time in times], fontsize=7)
    below.set_xlabel("time, with the numbers at risk", fontsize=8)
    for side in ("top", "right", "left"):
        below.spines[side].set_visible(False)
