"""All plots of one data set: what its models predicted, and how they were trained."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from roformermil.evaluation.calibration import calibration_caution, calibration_error, confusion, reliability
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.curves import POINTS, Curve, curves
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.kaplan_meier import risk_groups
from roformermil.evaluation.predictions import OutOfFold, join_folds, matching, of_ensembles, read_table
from roformermil.evaluation.temperature import scaled_models
from roformermil.report.plots import make_panels, save_plot
from roformermil.report.plots.scatter import plot_scatter
from roformermil.report.plots.survival import plot_survival

UNIT = {"xlim": (-0.02, 1.02), "ylim": (-0.02, 1.02), "aspect": "equal"}

LOSSES = ("train_loss", "validation_loss")
HIGHEST_LOSS = 2.0  # times that of guessing: one epoch of a diverging fold would flatten the lines of all others
LEGEND_ROWS = 25


def plot_dataset(predictions: list[Path], out: Path) -> None:
    """Write the plots of the task, such as `curves.png`, `calibration.png` and `confusion.png`, and `history.png` into `out`. Of an
    external data set no history.png, and nothing where it has no labels.

    predictions: predictions.csv of every fold of every model of one data set, each beside its history.csv and its
    model.safetensors.
    """
    results = read_results(predictions)
    members = join_folds(results, labelled=True)
    models = of_ensembles(members)
    out.mkdir(parents=True, exist_ok=True)
    if not models:
        return
    validation = matching(members, join_folds(results, "validation"))
    has = models[0].task.plots
    scaled = of_ensembles(scaled_models(members, validation)) if "calibration" in has else []
    divided = list(map(risk_groups, models, validation)) if "survival" in has else []
    plot_task(models, out, scaled, divided)
    if trained := [result for result in results if not result.is_external]:
        save_plot(plot_history(trained), out / "history.png")


def plot_task(
    models: list[OutOfFold],
    out: Path,
    scaled: Sequence[OutOfFold] = (),
    divided: Sequence[tuple[OutOfFold, np.ndarray]] = (),
) -> None:
    """Write the plots of the models' task into `out`. scaled: the models after temperature scaling; divided: as of `risk_groups`."""
    drawn: dict[str, Callable[[], Figure]] = {
        "curves": lambda: plot_curves(models),
        "calibration": lambda: plot_calibration(models, scaled),
        "confusion": lambda: plot_confusion(models),
        "survival": lambda: plot_survival(divided),
        "scatter": lambda: plot_scatter(models),
    }
    for name in models[0].task.plots:
        save_plot(drawn[name](), out / f"{name}.png")


def plot_curves(models: list[OutOfFold]) -> Figure:
    """ROC and precision-recall curves with 95% bands, means over folds and seeds, a column per model. Two classes: the
    positive one's; more: each against the rest."""
    figure, axes = make_panels([one.model for one in models], rows=2)
    for (roc, pr), one in zip(axes.T, models, strict=True):
        for k, index in enumerate([1] if len(one.classes) == 2 else range(len(one.classes))):
            by_kind, name, colour = curves(one, index), one.classes[index], f"C{k}"
            _draw_curve(roc, by_kind["roc"], colour, name, from_corner=True)
            _draw_curve(pr, by_kind["pr"], colour, name)
            pr.axhline((one.targets == index).mean(), color=colour, lw=0.7, ls=":")  # the precision of guessing
        roc.plot([0, 1], [0, 1], color="0.6", lw=0.7, ls=":")
        for panel, label in ((roc, "false positive rate"), (pr, "recall")):
            panel.set(**UNIT)
            panel.set_xlabel(label, fontsize=8)
    axes[0, 0].set_ylabel("true positive rate", fontsize=8)
    axes[1, 0].set_ylabel("precision", fontsize=8)
    axes[1, -1].legend(fontsize=7, loc="lower left")
    over = ["folds"] * (not models[0].trained_on) + ["seeds"] * (models[0].seed_count > 1)
    average = f"mean over {' and '.join(over)}" if over else _predicted_by(models)
    return _titled(figure, models, f"{average}, 95% bands from a bootstrap of patients")


def _draw_curve(panel: Axes, curve: Curve, colour: str, label: str, from_corner: bool = False) -> None:
    x, y = (np.append(0, POINTS), np.append(0, curve.middle)) if from_corner else (POINTS, curve.middle)
    panel.plot(x, y, color=colour, lw=1.4, label=label)
    panel.fill_between(POINTS, curve.low, curve.high, color=colour, alpha=0.18, lw=0)


def plot_calibration(models: list[OutOfFold], scaled: Sequence[OutOfFold] = ()) -> Figure:
    """Reliability curves over all out-of-fold predictions, and the number of slides behind each point. Each slide counts once,
    as the first repeat's and seed's model predicted it. scaled: the same models at their temperatures, whose curves are dashed."""
    figure, axes = make_panels([one.model for one in models], rows=2)
    for column, one in enumerate(map(OutOfFold.without_repeats, models)):
        (above, below), curve = axes[:, column], reliability(one.targets, one.predictions)
        title = f"{one.model}, ECE {calibration_error(curve):.3f}"
        above.plot([0, 1], [0, 1], color="0.6", lw=0.7, ls=":")
        above.plot(curve.probability, curve.observed, marker="o", ms=4, lw=1.2, label="as predicted")
        if scaled:
            after = scaled[column].without_repeats()
            curve_after = reliability(after.targets, after.predictions)
            points = curve_after.probability, curve_after.observed
            above.plot(*points, "--o", ms=3, lw=1, color="C1", label="temperature-scaled")
            title += f"\ntemperature-scaled {calibration_error(curve_after):.3f}"
        above.set_title(title, fontsize=9)
        above.set(**UNIT)
        below.bar(curve.low, curve.slides, width=curve.high - curve.low, align="edge", color="0.7", edgecolor="white")
        below.set(xlim=UNIT["xlim"])
        below.yaxis.get_major_locator().set_params(integer=True)
        predicted = one.classes[1] if len(one.classes) == 2 else "the predicted class"
        below.set_xlabel(f"probability of {predicted}", fontsize=8)
    axes[0, 0].set_ylabel("observed fraction", fontsize=8)
    axes[0, 0].legend(fontsize=7, loc="upper left")
    axes[1, 0].set_ylabel(f"{models[0].unit}s", fontsize=8)
    too_few = ". Too few patients to read this plot" if calibration_caution(models[0].patients_by_class()) else ""
    return _titled(figure, models, f"reliability of {_predicted_by(models)}{_which_predictions(models)}{too_few}")


def plot_confusion(models: list[OutOfFold]) -> Figure:
    """Out-of-fold slides by label (down) and predicted class (across), each once, as the first repeat's and seed's model predicted it;
    colours are fractions of a label's slides."""
    figure, axes = make_panels([one.model for one in models])
    for panel, one in zip(axes[0], models, strict=True):
        places, last = range(len(one.classes)), len(one.classes) - 0.5
        counts = confusion([one]).slides.to_numpy().reshape(len(one.classes), -1)
        fractions = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        panel.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        panel.grid(False)
        panel.hlines(edges := np.arange(0.5, len(one.classes) - 1), -0.5, last, color="white", lw=1.5)
        panel.vlines(edges, -0.5, last, color="white", lw=1.5)
        for i, j in np.ndindex(counts.shape):
            colour = "white" if fractions[i, j] > 0.5 else "black"
            panel.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour)
        panel.set_xticks(places, one.classes, fontsize=7, rotation=20, ha="right")
        panel.set_yticks(places, one.classes if panel is axes[0, 0] else [""] * len(places), fontsize=7)
        panel.set_xlabel("predicted", fontsize=8)
    axes[0, 0].set_ylabel("label", fontsize=8)
    unit = models[0].unit
    slides = f"external {unit}s" if models[0].trained_on else f"test {unit}s of all folds"
    return _titled(figure, models, f"{slides}{_which_predictions(models)}")


def plot_history(results: list[FoldResult]) -> Figure:
    """Losses by epoch, those of training above those of validation, a column per model and a colour per fold; a dot at the epoch
    whose model was kept. All panels share one scale, which ends at HIGHEST_LOSS: a triangle marks each loss above that."""
    models, folds = (list(dict.fromkeys(getattr(one, key) for one in results)) for key in ("model", "fold"))
    colours = dict(zip(folds, fold_colours(len(folds)), strict=True))
    figure, axes = make_panels(models, rows=len(LOSSES))
    top = 0.0
    for column, model in zip(axes.T, models, strict=True):
        own = [one for one in results if one.model == model]
        guessing = [_guess_loss(one) for one in own]
        limit = HIGHEST_LOSS * max(guessing)
        for result in own:
            history = read_table(result.path.with_name("history.csv"))
            kept = history[history.epoch == int(result.metadata["best_epoch"])]
            for panel, name in zip(column, LOSSES, strict=True):
                top = max(top, history[name].clip(upper=limit).max())
                draw_losses(panel, history.epoch, history[name], limit, colours[result.fold])
            column[1].plot(kept.epoch, kept.validation_loss.clip(upper=limit), "o", ms=5, color=colours[result.fold])
        for panel in column:
            panel.axhline(np.median(guessing), color="0.4", lw=0.8, ls=":")
        is_linear = "C" in history.columns  # an epoch of mean-linear is a strength of its regularization
        column[1].set_xlabel("strength, from strong to weak" if is_linear else "epoch", fontsize=8)
    for panel, name in zip(axes[:, 0], LOSSES, strict=True):
        panel.set_ylabel(name.replace("_", " "), fontsize=8)
    for panel in axes.flat:
        panel.set_ylim(-0.04 * top, 1.06 * top)
        panel.xaxis.get_major_locator().set_params(integer=True)
    lines = [Line2D([], [], color=colour, label=f"fold {fold}") for fold, colour in colours.items()]
    figure.legend(handles=lines, fontsize=7, loc="outside right center", ncols=1 + (len(lines) - 1) // LEGEND_ROWS)
    each = "fold and seed" if len({one.seed for one in results}) > 1 else "fold"
    figure.suptitle(f"{results[0].dataset} ({results[0].encoder}): losses by epoch, a line per {each}", fontsize=10)
    return figure


def _guess_loss(result: FoldResult) -> float:
    """The loss of guessing, on the slides that it was trained on."""
    table = read_table(result.path)
    return result.task.guess_loss(result.task.targets(table[table.part == "train"].label.tolist()))


def fold_colours(count: int) -> list[Any]:
    """As many colours as there are folds: ten that differ in hue, or for more folds steps of a colour map."""
    return [f"C{k}" for k in range(count)] if count <= 10 else list(colormaps["turbo"](np.linspace(0.05, 0.95, count)))


def draw_losses(panel: Axes, epochs: pd.Series, losses: pd.Series, limit: float, colour: Any) -> None:
    """The losses of one training, and a triangle at `limit` in each epoch whose loss exceeds it."""
    panel.plot(epochs, losses, color=colour, lw=1.1, alpha=0.85)
    above = losses > limit
    panel.plot(epochs[above], np.full(above.sum(), limit), "^", ms=5, color=colour)


def _which_predictions(models: list[OutOfFold]) -> str:
    """What a title adds where slides have several predictions, of repeats or seeds, and the plot counts each slide once."""
    repeat = ", first repeat" if models[0].folds_per_repeat else ""
    return repeat + (", first seed" if models[0].seed_count > 1 else "")


def _predicted_by(models: list[OutOfFold]) -> str:
    """Which predictions a plot shows."""
    trained = models[0].trained_on
    return f"the ensemble trained on {trained}" if trained else "all out-of-fold predictions"


def _titled(figure: Figure, models: list[OutOfFold], text: str) -> Figure:
    figure.suptitle(f"{models[0].dataset} ({models[0].encoder}): {text}", fontsize=10)
    return figure
