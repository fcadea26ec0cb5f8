"""How training went."""

from pathlib import Path

import pandas as pd
from safetensors import safe_open

from roformermil.evaluation.predictions import FoldResult
from roformermil.report.plots import make_panels, save_plot

COLOURS = {"train_loss": "0.55", "validation_loss": "tab:orange"}


def plot_history(results: list[FoldResult], path: Path) -> None:
    """Losses by epoch, a line a fold and a model a column; a dot at the epoch whose model was kept."""
    models = list(dict.fromkeys(result.model for result in results))
    figure, axes = make_panels(models)
    for panel, model in zip(axes[0], models, strict=True):
        of_model = [result for result in results if result.model == model]
        for result in of_model:
            history = pd.read_csv(result.path.with_name("history.csv"))
            for name, colour in COLOURS.items():
                label = name.replace("_", " ") if result is of_model[0] else None
                panel.plot(history.epoch, history[name], color=colour, lw=0.9, alpha=0.8, label=label)
            with safe_open(result.path.with_name("model.safetensors"), "np") as file:
                kept = history[history.epoch == int(file.metadata()["best_epoch"])]
            panel.plot(kept.epoch, kept.validation_loss, ls="", marker="o", ms=3.5, color="tab:red",
                       label="model kept" if result is of_model[0] else None)  # fmt: skip
        panel.set_xlabel("epoch", fontsize=8)
        panel.set_ylim(bottom=0)
    axes[0, 0].set_ylabel("loss", fontsize=8)
    axes[0, -1].legend(fontsize=7)
    figure.suptitle(f"{results[0].dataset} ({results[0].encoder}): losses by epoch, a line a fold", fontsize=10)
    save_plot(figure, path)
