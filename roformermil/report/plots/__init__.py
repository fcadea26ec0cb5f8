"""Plots of results. Every `plot_*` returns a matplotlib Figure, `save_plot` writes it. Figures are made without pyplot,
which would need a display to be ruled out and every figure to be closed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from roformermil.runtime.files import atomic_path

PANEL, WIDTH = 2.9, 14.0  # inches: of a panel, and of a figure at most, which the report shows whole


def make_panels(titles: list[str], rows: int = 1, heights: Sequence[float] = ()) -> tuple[Figure, Any]:
    """A figure with one column per title, and its axes (rows, titles). heights: of rows whose panels are not square, in widths."""
    size, heights = min(PANEL, WIDTH / len(titles)), heights or [1.0] * rows
    figure = Figure(figsize=(0.4 + size * len(titles), 0.9 + size * sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), len(titles), squeeze=False, height_ratios=heights)
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set_title(title, fontsize=10)
    for panel in axes.flat:
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25)
    return figure, axes


def save_plot(figure: Figure, path: Path) -> None:
    """Write the figure (PNG), atomically."""
    with atomic_path(path) as scratch:
        figure.savefig(scratch, dpi=130, bbox_inches="tight")  # includes labels of panels that keep their shape
