"""Figures of results, a file a kind."""

from pathlib import Path
from typing import Any

import matplotlib

from roformermil.runtime.files import atomic_path

matplotlib.use("Agg")  # no display on a cluster's nodes
import matplotlib.pyplot as plt

DPI = 110
PANEL, WIDTH = 2.9, 14.0  # inches: of a panel, and at most of a figure, which the report shows whole


def make_panels(titles: list[str], rows: int = 1) -> tuple[Any, Any]:
    """A figure of `rows` rows with a panel a title in each, and its panels (rows, titles)."""
    size = min(PANEL, WIDTH / len(titles))
    width, height = 0.4 + size * len(titles), 0.9 + size * rows
    figure, axes = plt.subplots(rows, len(titles), figsize=(width, height), squeeze=False, layout="constrained")
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=10)
    for panel in axes.flat:
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
    return figure, axes


def save_plot(figure: Any, path: Path) -> None:
    """Write the figure (PNG), atomically."""
    with atomic_path(path) as scratch:
        figure.savefig(scratch, dpi=DPI, bbox_inches="tight")  # labels of panels that keep their shape too
    plt.close(figure)
