"""What models' probabilities are worth as decisions: decision curves, and abstention."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from roformermil.report.plots import make_panels


def plot_decisions(curves: pd.DataFrame, abstention: pd.DataFrame, unit: str = "slide", trained_on: str = "") -> Figure:
    """A column per model of one data set: its decision curve, and what its decisions are worth when it leaves slides to a person.

    curves, abstention: the rows of decision_curves.csv and abstention.csv; all decision curves share one scale;
    unit: what their slides are; trained_on: the data set that an external one's models were trained on.
    """
    models = curves.model.unique().tolist()
    figure, axes = make_panels(models, rows=2)
    top = max(curves.treat_all.max(), curves.net_benefit.max(), 0.05)
    for (above, below), model in zip(axes.T, models, strict=True):
        for k, (name, rows) in enumerate(curves[curves.model == model].groupby("class", sort=False)):
            _draw_net_benefit(above, rows, str(name), f"C{k}")
        above.axhline(0, color="0.3", lw=0.9)
        above.set(xlim=(0, 1), ylim=(-0.25 * top, 1.1 * top))
        above.set_xlabel("probability from which one acts", fontsize=8)
        _draw_abstention(below, abstention[abstention.model == model])
        below.set_xlabel(f"share of {unit}s left to a person", fontsize=8)
    axes[0, 0].set_ylabel("net benefit", fontsize=8)
    axes[1, 0].set_ylabel(f"of the {unit}s decided", fontsize=8)
    axes[0, -1].legend(fontsize=7, loc="upper right")
    axes[1, -1].legend(fontsize=7, loc="lower right")
    dataset, encoder = curves.iloc[0][["dataset", "encoder"]]
    slides = (
        f"external {unit}s by the ensemble trained on {trained_on}" if trained_on else f"the test {unit}s of all folds"
    )
    figure.suptitle(f"{dataset} ({encoder}): decisions on {slides}, 95% bands", fontsize=10)
    return figure


def _draw_net_benefit(panel: Axes, rows: pd.DataFrame, name: str, colour: str) -> None:
    panel.plot(rows.threshold, rows.net_benefit, color=colour, lw=1.4, label=f"model, {name}")
    panel.fill_between(rows.threshold, rows.ci_low, rows.ci_high, color=colour, alpha=0.18, lw=0)
    panel.plot(rows.threshold, rows.treat_all, color=colour, lw=1, ls=":", label=f"act on all, {name}")


def _draw_abstention(panel: Axes, rows: pd.DataFrame) -> None:
    left = rows[rows.metric == "left"].value.to_numpy()
    accuracy = rows[rows.metric == "accuracy"]
    panel.plot(left, accuracy.value, color="0.1", lw=1.4, label="accuracy")
    panel.fill_between(left, accuracy.ci_low, accuracy.ci_high, color="0.1", alpha=0.15, lw=0)
    for k, (name, recall) in enumerate(rows[rows.metric == "recall"].groupby("class", sort=False)):
        panel.plot(left, recall.value, color=f"C{k}", lw=0.9, ls="--", label=f"recall, {name}")
    panel.set(xlim=(-0.02, 1.0), ylim=(-0.02, 1.02))
