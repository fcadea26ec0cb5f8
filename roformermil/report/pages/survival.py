"""Risk groups in the report."""

from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.summary_text import NONE
from roformermil.runtime.text import p_text

HEADER = ["model", "risk", "patients", "events", "median time without the event [95% interval]", "log-rank test"]


def describe_risk_groups(table: pd.DataFrame) -> dict[str, tuple[list[str], list[list[str]]]]:
    """By data set, a table (header and rows) of the risk groups of all folds together. table: survival_groups.csv; may be empty."""
    if table.empty:
        return {}
    joined = table[table.fold.isna()]
    return {
        str(name): (HEADER, [_line(row) for row in rows.to_dict("records")])
        for name, rows in joined.groupby("dataset", sort=False)
    }


def _line(row: dict[Any, Any]) -> list[str]:
    low, high = (
        f"{row[name]:g}" if np.isfinite(row[name]) else "not reached" for name in ("median_low", "median_high")
    )
    median = f"{row['median']:g} [{low}, {high}]" if np.isfinite(row["median"]) else f"not reached [{low}, {high}]"
    test = p_text(row["p"]) if np.isfinite(row["p"]) else NONE
    return [row["model"], row["group"], str(row["patients"]), str(row["events"]), median, test]
