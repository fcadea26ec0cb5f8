"""The overhead's table and figure, from single measurements."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t

from roformermil.runtime.files import write_text
from roformermil.studies.plots import plot_overhead

SAME = ("parameters", "device", "threads", "status")  # in all rows of a measurement


def write_overhead(cells: list[Path], out: Path) -> None:
    """Write `overhead.csv`, `overhead.md` and `overhead.png` into `out` from the tables that `measure` wrote."""
    runs = pd.concat([pd.read_csv(cell) for cell in cells])
    rows = []
    for (model, tiles, what), group in runs.groupby(["model", "tiles", "what"], sort=False):
        first = group.to_dict("records")[0]
        common = (model, tiles, *(first[name] for name in SAME))
        seconds = group.seconds.to_numpy(float)
        mean, half = seconds.mean(), _half_width(seconds)
        rows.append((*common, f"{what}_seconds", mean, mean - half, mean + half, len(group)))
        once = ("memory_gb", "gpu_utilisation")  # one figure for all runs
        rows += [(*common, f"{what}_{name}", first[name], first[name], first[name], 1) for name in once]
    columns = [
        "model",
        "tiles",
        "parameters",
        "device",
        "threads",
        "status",
        "measure",
        "mean",
        "ci_low",
        "ci_high",
        "runs",
    ]
    table = pd.DataFrame(rows, columns=columns)
    write_text(out / "overhead.csv", table.to_csv(index=False, lineterminator="\n"))
    write_text(out / "overhead.md", _markdown(table))
    plot_overhead(table, out / "overhead.png")


def _half_width(seconds: np.ndarray) -> float:
    """Half the width of Student's 95% interval of a mean; NaN for one run."""
    count = len(seconds)
    return float(t.ppf(0.975, count - 1) * seconds.std(ddof=1) / math.sqrt(count)) if count > 1 else math.nan


def _range(values: pd.Series) -> str:
    return f"{values.min()}" if values.nunique() == 1 else f"{values.min()} to {values.max()}"


def _markdown(table: pd.DataFrame) -> str:
    first = table.to_dict("records")[0]
    lines = [
        f"One slide a step; mean of {_range(table.runs[table.runs > 1])} runs with its 95% interval; {first['device']}, "
        f"{first['threads']} threads",
        "",
        "| model | parameters | tiles | s/step | s/slide, inference | peak memory of a step, GB | GPU utilisation |",
        "|---" * 7 + "|",
    ]
    for (model, tiles), group in table.groupby(["model", "tiles"], sort=False):
        cells = {row["measure"]: row for row in group.to_dict("records")}
        texts = []
        for what in ("step", "inference"):
            row = cells[f"{what}_seconds"]
            spread = row["ci_high"] - row["mean"]
            digits = max(0, 2 - math.floor(math.log10(row["mean"]))) if row["status"] == "ok" else 0
            texts.append(
                f"{row['mean']:.{digits}f} ± {spread:.{digits}f}" if row["status"] == "ok" else "out of memory"
            )
        for name, unit in (("step_memory_gb", ""), ("step_gpu_utilisation", "%")):
            value = cells[name]["mean"]
            texts.append("–" if math.isnan(value) else f"{value:.3g}{unit}")
        parameters = cells["step_seconds"]["parameters"]
        lines.append(f"| {model} | {parameters:,} | {tiles:,} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"
