"""How well models tell classes apart, and whether their probabilities can be taken at their word."""

from pathlib import Path
from typing import Any

import numpy as np

from roformermil.evaluation.calibration import calibration_error, confusion, reliability
from roformermil.evaluation.curves import POINTS, Curve, curves
from roformermil.evaluation.predictions import OutOfFold
from roformermil.report.plots import make_panels, save_plot

AXES = {"roc": ("false positive rate", "true positive rate"), "pr": ("recall", "precision")}


def plot_curves(found: list[OutOfFold], path: Path) -> None:
    """ROC and precision-recall curves with 95% bands: a model a column. Two classes: the positive one's; more: each against
    the rest."""
    figure, axes = make_panels([one.model for one in found], rows=2)
    for column, one in zip(axes.T, found, strict=True):
        chosen = [1] if len(one.classes) == 2 else range(len(one.classes))
        for number, c in enumerate(chosen):
            for panel, (kind, curve) in zip(column, curves(one, c).items(), strict=True):
                _band(panel, curve, f"C{number}", one.classes[c], from_corner=kind == "roc")
                panel.set(xlabel=AXES[kind][0], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
                panel.xaxis.label.set_size(8)
            column[1].axhline((one.labels == c).mean(), color=f"C{number}", lw=0.7, ls=":")  # what guessing reaches
        column[0].plot([0, 1], [0, 1], color="0.6", lw=0.7, ls=":")
    for panel, (_, label) in zip(axes[:, 0], AXES.values(), strict=True):
        panel.set_ylabel(label, fontsize=8)
    axes[1, -1].legend(fontsize=7, loc="lower left")
    figure.suptitle(
        f"{found[0].dataset} ({found[0].encoder}): mean over folds, 95% bands by resampling patients", fontsize=10
    )
    save_plot(figure, path)


def _band(panel: Any, curve: Curve, colour: str, label: str, from_corner: bool) -> None:
    x, y = (np.append(0, POINTS), np.append(0, curve.middle)) if from_corner else (POINTS, curve.middle)
    panel.plot(x, y, color=colour, lw=1.4, label=label)
    panel.fill_between(POINTS, curve.low, curve.high, color=colour, alpha=0.18, lw=0)


def plot_calibration(found: list[OutOfFold], path: Path) -> None:
    """Reliability curves over all out-of-fold predictions, and how many slides stand behind each point."""
    figure, axes = make_panels([one.model for one in found], rows=2)
    for (above, below), one in zip(axes.T, map(OutOfFold.once, found), strict=True):
        curve = reliability(one.labels, one.probabilities)
        above.plot([0, 1], [0, 1], color="0.6", lw=0.7, ls=":")
        above.plot(curve.claimed, curve.observed, marker="o", ms=4, lw=1.2)
        above.set_title(f"{one.model}, ECE {calibration_error(curve):.3f}", fontsize=9)
        above.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        below.bar(curve.low, curve.slides, width=curve.high - curve.low, align="edge", color="0.7", edgecolor="white")
        below.set(xlim=(-0.02, 1.02))
        below.yaxis.get_major_locator().set_params(integer=True)
        below.set_xlabel(_claim(one), fontsize=8)
    axes[0, 0].set_ylabel("observed fraction", fontsize=8)
    axes[1, 0].set_ylabel("slides", fontsize=8)
    figure.suptitle(f"{found[0].dataset} ({found[0].encoder}): reliability over all slides out of fold", fontsize=10)
    save_plot(figure, path)


def _claim(one: OutOfFold) -> str:
    return f"probability of {one.classes[1]}" if len(one.classes) == 2 else "probability of the class decided for"


def plot_confusion(found: list[OutOfFold], path: Path) -> None:
    """Out-of-fold slides by label and decision; colours are fractions of a label's slides."""
    figure, axes = make_panels([one.model for one in found])
    for panel, one in zip(axes[0], found, strict=True):
        counts = confusion([one]).slides.to_numpy().reshape(len(one.classes), -1)
        shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        panel.grid(False)
        panel.hlines(edges := np.arange(0.5, len(one.classes) - 1), -0.5, len(one.classes) - 0.5, color="white", lw=1.5)
        panel.vlines(edges, -0.5, len(one.classes) - 0.5, color="white", lw=1.5)
        for i, j in np.ndindex(counts.shape):
            colour = "white" if shares[i, j] > 0.5 else "black"
            panel.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour)
        panel.set_xticks(range(len(one.classes)), one.classes, fontsize=7, rotation=20, ha="right")
        panel.set_yticks(range(len(one.classes)), one.classes if panel is axes[0, 0] else [], fontsize=7)
        panel.set_xlabel("decided", fontsize=8)
    axes[0, 0].set_ylabel("label", fontsize=8)
    figure.suptitle(f"{found[0].dataset} ({found[0].encoder}): test slides of all folds", fontsize=10)
    save_plot(figure, path)
