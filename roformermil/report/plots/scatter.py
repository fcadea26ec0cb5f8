"""Predicted against true numbers."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from roformermil.evaluation.intervals import mean_over_folds, patient_intervals
from roformermil.evaluation.predictions import OutOfFold
from roformermil.evaluation.summary_text import METRIC_TITLES, value_text
from roformermil.report.plots import make_panels

MARGIN = 0.04  # of the range of numbers, around them


def plot_scatter(models: Sequence[OutOfFold]) -> Figure:
    """The prediction of every tested slide, or patient, against its label, with the line on which they are equal, a column per
    model; titles have the metrics of the tables with their 95% intervals. With repeats or seeds a slide has several points. All
    panels share one scale.
    """
    figure, axes = make_panels([one.model for one in models])
    values = np.concatenate([part for one in models for part in (one.targets, one.predictions[:, 0])])
    margin = MARGIN * (np.ptp(values) or 1.0)
    limits = values.min() - margin, values.max() + margin
    for panel, one in zip(axes[0], models, strict=True):
        panel.plot(limits, limits, color="0.5", lw=0.8, ls=":")
        panel.plot(one.targets, one.predictions[:, 0], "o", ms=3, mew=0, alpha=0.45)
        panel.set(xlim=limits, ylim=limits, aspect="equal")
        panel.set_title("\n".join([one.model, *_metric_lines(one)]), fontsize=8)
        panel.set_xlabel("label", fontsize=8)
    axes[0, 0].set_ylabel("prediction", fontsize=8)
    unit = models[0].unit
    which = f"external {unit}s, predicted by the ensemble trained on {models[0].trained_on}"
    which = which if models[0].trained_on else f"test {unit}s of all folds"
    figure.suptitle(f"{models[0].dataset} ({models[0].encoder}): {which}", fontsize=10)
    return figure


def _metric_lines(model: OutOfFold) -> list[str]:
    means = mean_over_folds(model, model.task.weighted_metrics)
    intervals = patient_intervals(model, model.task.weighted_metrics)
    rows = {
        name: {"mean": means[name][0], "ci_low": intervals[name][0], "ci_high": intervals[name][1]}
        for name in model.task.reported
    }
    return [f"{METRIC_TITLES[name]} {value_text(row)}" for name, row in rows.items()]
