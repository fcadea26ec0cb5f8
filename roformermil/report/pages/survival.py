"""Risk groups in the report."""

from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.summary_text import NONE
from roformermil.runtime.text import p_text

HEADER = ["model", "risk", "patients", "events", "median time without the event [95% interval]", "log-rank test"]


def describe_risk_groups(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """By data set, a `table` (header and rows) of the risk groups of all folds together, and a `caution` where folds divide no
    patients; "" where all do. table: survival_groups.csv; may be empty."""
    if table.empty:
        return {}
    described = {}
    for name, groups in table.groupby("dataset", sort=False):
        joined, of_folds = groups[groups.fold.isna()], groups[groups.fold.notna()]
        undivided = of_folds[of_folds.patients == 0]
        lines = [f"{model}: {len(rows)}" for model, rows in undivided.groupby("model", sort=False)]
        caution = f"Folds in which all test patients are in one group ({', '.join(lines)}): the median risk of few validation patients divides others by chance."
        rows = [_line(row) for row in joined.to_dict("records")]
        described[str(name)] = {"table": (HEADER, rows), "caution": caution if lines else ""}
    return described


def _line(row: dict[Any, Any]) -> list[str]:
    low, high = (
        f"{row[name]:g}" if np.isfinite(row[name]) else "not reached" for name in ("median_low", "median_high")
    )
    median = f"{row['median']:g} [{low}, {high}]" if np.isfinite(row["median"]) else f"not reached [{low}, {high}]"
    test = p_text(row["p"]) if np.isfinite(row["p"]) else NONE
    return [row["model"], row["group"], str(row["patients"]), str(row["events"]), median, test]
