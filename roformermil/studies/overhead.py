"""The overhead's table and plot, from single measurements."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from roformermil.evaluation.intervals import corrected_interval
from roformermil.evaluation.predictions import read_table
from roformermil.report.plots import save_plot
from roformermil.runtime.files import write_text
from roformermil.runtime.text import markdown_table
from roformermil.studies.plots import plot_overhead

SHARED = ["model", "tiles", "parameters", "device", "threads", "status"]  # equal in all rows of a measurement
HEADER = ("model", "parameters", "tiles", "s/step", "s/slide, inference", "peak GB of a step", "GPU utilisation")


def write_overhead(measurements: list[Path], out: Path) -> None:
    """Write `overhead.csv`, `overhead.md` and `overhead.png` into `out` from the tables that `measure` wrote."""
    runs = pd.concat([read_table(path) for path in measurements])
    rows = []
    for (_, _, what), group in runs.groupby(["model", "tiles", "what"], sort=False):
        first = group.to_dict("records")[0]
        shared = [first[name] for name in SHARED]
        seconds = group.seconds.to_numpy(float)
        interval = corrected_interval(seconds, 0, bounds=(-math.inf, math.inf))  # Student's: runs share nothing
        rows.append((*shared, f"{what}_seconds", seconds.mean(), *interval, len(group)))
        rows += [(*shared, f"{what}_{name}", *[first[name]] * 3, 1) for name in ("memory_gb", "gpu_utilisation")]
    table = pd.DataFrame(rows, columns=[*SHARED, "measure", "mean", "ci_low", "ci_high", "runs"])
    write_text(out / "overhead.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(out / "overhead.md", overhead_markdown(table))
    save_plot(plot_overhead(table), out / "overhead.png")


def overhead_markdown(table: pd.DataFrame) -> str:
    """The table of overhead.md, a row per model and number of tiles."""
    first, runs = table.iloc[0], table.runs[table.runs > 1]
    counts = f"{runs.min()}" if runs.nunique() == 1 else f"{runs.min()} to {runs.max()}"
    rows = []
    for (model, tiles), group in table.groupby(["model", "tiles"], sort=False):
        measures = {row["measure"]: row for row in group.to_dict("records")}
        seconds = [_seconds_text(measures[name]) for name in ("step_seconds", "inference_seconds")]
        means = (measures["step_memory_gb"]["mean"], ""), (measures["step_gpu_utilisation"]["mean"], "%")
        texts = ["–" if math.isnan(mean) else f"{mean:.3g}{unit}" for mean, unit in means]
        rows.append([model, f"{group.parameters.iloc[0]:,}", f"{tiles:,}", *seconds, *texts])
    title = f"One slide per step; mean of {counts} runs with its 95% interval; {first.device}, {first.threads} threads"
    return f"{title}\n\n{markdown_table(HEADER, rows)}\n"


def _seconds_text(row: dict[Any, Any]) -> str:
    if row["status"] != "ok":
        return "out of memory"
    digits = max(0, 2 - math.floor(math.log10(row["mean"])))
    return f"{row['mean']:.{digits}f} ± {row['ci_high'] - row['mean']:.{digits}f}"
