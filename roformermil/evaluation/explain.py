"""A number walked back: summary -> folds -> predictions -> model -> features -> slide files, each checked on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import safe_open

from roformermil.errors import ConfigError
from roformermil.evaluation.predictions import KEYS, FoldResult
from roformermil.evaluation.summary import fold_metrics
from roformermil.features.store import read_attributes
from roformermil.files import content_id, file_sha256
from roformermil.status import OK, read_status

SELECTORS = [*KEYS, "metric"]


def explain(table: Path, row: str) -> dict[str, Any]:
    """What the number in one row of `summary.csv` came from.

    row: its number (1 is the first below the header), or `key=value` pairs, comma between: `model=ro-abmil,metric=auroc`.
    Returns what was found, in the order of the walk; `differs` lists what no longer is what the number was computed from.
    Raises ConfigError when not exactly one row is meant.
    """
    rows = pd.read_csv(table)
    if list(rows.columns[: len(SELECTORS) + 1]) != [*SELECTORS, "mean"]:
        raise ConfigError(f"{table}: numbers are walked back from a summary.csv, whose columns are others")
    chosen = _row(rows, row, table)
    results, differs = table.parent, []
    name = {key: chosen[key] for key in SELECTORS}
    metrics = pd.read_csv(results / "metrics.csv")
    values = metrics[(metrics[SELECTORS] == pd.Series(name)).all(axis=1)].set_index("fold").value
    models = results / chosen["dataset"] / chosen["encoder"] / chosen["model"]
    stores = results / chosen["dataset"] / "features" / chosen["encoder"]
    if not np.isclose(values.mean(), chosen["mean"]):
        differs.append(f"{table}: the mean is not that of metrics.csv")
    folds_table = results / chosen["dataset"] / "folds.csv"
    folds: list[dict[str, Any]] = []
    used: dict[str, str] = {}
    for fold, value in values.items():
        result = FoldResult.at(models / f"fold_{fold}/predictions.csv")
        again = fold_metrics([result])[0].set_index("metric").value[chosen["metric"]]
        if not np.isclose(again, value, equal_nan=True):
            differs.append(f"{result.path}: gives {again:.6f}, metrics.csv says {value:.6f}")
        with safe_open(result.path.with_name("model.safetensors"), "numpy") as model:
            made = model.metadata()
        used |= json.loads(made.get("features", "{}"))
        folds.append(
            {
                "fold": int(str(fold)), chosen["metric"]: float(value), "predictions": str(result.path),
                "sha256": file_sha256(result.path), "best_epoch": int(made["best_epoch"]),
                "model": json.loads(made["model"]), "training": json.loads(made["training"]),
                "run": json.loads(made.get("run", "{}")),
            }
        )  # fmt: skip
    slides = _slides(results / chosen["dataset"] / "slides.csv", stores, used, differs)
    return {
        **name,
        "mean": float(chosen["mean"]),
        "tables": _json(results / "provenance.json"),
        "folds_table": {"path": str(folds_table), "sha256": file_sha256(folds_table)},
        "folds": folds,
        "slides": slides,
        "differs": differs,
    }


def _row(table: pd.DataFrame, row: str, path: Path) -> dict[str, Any]:
    if row.isdigit():
        found = table.iloc[int(row) - 1 : int(row)] if int(row) else table.iloc[:0]
    else:
        pairs = dict(pair.split("=", 1) for pair in row.split(",") if "=" in pair)
        if not pairs or not set(pairs) <= set(SELECTORS):
            raise ConfigError(
                f"--row {row}: a row's number, or pairs of {', '.join(SELECTORS)}: model=ro-abmil,metric=auroc"
            )
        found = table[np.all([table[key].astype(str) == value for key, value in pairs.items()], axis=0)]
    if len(found) != 1:
        known = "\n".join("  " + ",".join(f"{key}={r[key]}" for key in SELECTORS) for _, r in table.iterrows())
        raise ConfigError(f"--row {row}: {len(found)} rows of {path} are meant; its rows are\n{known}")
    return {str(key): value for key, value in found.iloc[0].items()}


def _slides(table: Path, stores: Path, used: dict[str, str], differs: list[str]) -> list[dict[str, Any]]:
    """Each slide that the folds used: its file, its content, and what its features were made with."""
    found = []
    for row in read_status(table):
        if row.status != OK or row.slide_id not in used:
            continue
        attributes = read_attributes(stores / f"{row.slide_id}.zarr")
        if attributes.get("fingerprint") != used[row.slide_id]:
            differs.append(f"{row.slide_id}: its features are not those that were trained on")
        if not Path(row.path).exists():
            differs.append(f"{row.slide_id}: {row.path} is not there any more")
        elif row.content and content_id(Path(row.path)) != row.content:
            differs.append(f"{row.slide_id}: {row.path} is another file than the one that was read")
        wanted = ("encoder", "weights", "precision", "target_mpp", "tile_px", "mpp", "version", "commit")
        features = {key: attributes[key] for key in wanted if key in attributes}
        found.append(
            {"slide_id": row.slide_id, "file": row.path, "content": row.content, "tiles": row.tiles,
             "fingerprint": used[row.slide_id], "features": features}
        )  # fmt: skip
    return found


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
