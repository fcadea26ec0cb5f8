"""A number walked back: summary -> folds -> predictions -> model -> features -> slide files, each checked on the way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from roformermil.bags.folds import read_folds, rows_fingerprint
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_table import read_slide_table
from roformermil.errors import ConfigError, Status, StoreError
from roformermil.evaluation.predictions import KEYS, FoldResult, out_of_fold
from roformermil.evaluation.summary import by_bootstrap, fold_metrics, summarise
from roformermil.features.store import is_as_written, read_attributes
from roformermil.runtime.files import file_sha256

SELECTORS = [*KEYS, "metric"]
FIGURES = ("mean", "std", "ci_low", "ci_high")


def trace_number(table: Path, row: str, read_features: bool = False) -> dict[str, Any]:
    """What the numbers in one row of `summary.csv` came from.

    row: its number (1 is the first below the header), or `key=value` pairs, comma between: `model=ro-abmil,metric=auroc`.
    read_features: read every store too, and compare its content; else only what it says of itself.
    Returns what was found, in the order of the walk; `differs` lists what no longer is what the numbers were computed from.
    Raises ConfigError when not exactly one row is meant, or a file on the way is gone.
    """
    rows = pd.read_csv(table)
    if list(rows.columns[: len(SELECTORS) + 1]) != [*SELECTORS, "mean"]:
        raise ConfigError(
            f"{table}: is no summary.csv, whose rows alone are walked back; for a comparison, the rows of its two models"
        )
    chosen = _row(rows, row, table)
    walk = Walk(table, {key: chosen[key] for key in SELECTORS})
    walk.compare(chosen)
    return {
        **walk.name,
        **{name: float(chosen[name]) for name in FIGURES},
        "tables": json.loads((table.parent / "provenance.json").read_text(encoding="utf-8")),
        "folds_table": {"path": str(walk.folds_table), "sha256": file_sha256(walk.folds_table)},
        "folds": [walk.fold(result) for result in walk.results],
        "slides": walk.slides(read_features),
        "differs": walk.differs,
    }


def summarise_trace(found: dict[str, Any]) -> dict[str, Any]:
    """What `explain` found, less what says the same once more: for a person."""
    first, *others = found["folds"]
    same = [key for key in ("model", "training", "run") if all(fold[key] == first[key] for fold in others)]
    return {
        "differs": found["differs"] or "nothing",
        **{key: value for key, value in found.items() if key != "differs"},
        "tables": {"run": found["tables"]["run"], "config": "in provenance.json"},
        "all_folds": {key: first[key] for key in same},
        "folds": [{key: value for key, value in fold.items() if key not in same} for fold in found["folds"]],
        "slides": f"{len(found['slides'])}, listed by --slides",
    }


class Walk:
    """The way back from one row, and what differs on it."""

    def __init__(self, table: Path, name: dict[str, Any]):
        self.name, self.table, self.results_folder = name, table, table.parent
        self.data = table.parent / name["dataset"]
        self.folds_table = self.data / "folds.csv"
        self.stores = self.data / "features" / name["encoder"]
        metrics = _needed(pd.read_csv, table.parent / "metrics.csv")
        self.values = metrics[(metrics[SELECTORS] == pd.Series(name)).all(axis=1)].set_index("fold").value
        models = self.data / name["encoder"] / name["model"]
        self.results = [FoldResult.at(models / f"fold_{fold}/predictions.csv") for fold in self.values.index]
        self.features: dict[str, str] = {}  # of each slide that was trained or tested on, what decided them
        self.differs: list[str] = []
        self.figures, self.sizes = _needed(fold_metrics, self.results)

    def compare(self, chosen: dict[str, Any]) -> None:
        """The row's figures, and each fold's, against what the predictions give now."""
        metric = self.name["metric"]
        again = self.figures[self.figures.metric == metric].set_index("fold").value
        for fold, value in self.values.items():
            if not np.isclose(again[fold], value, equal_nan=True):
                self.differs.append(
                    f"fold {fold}: predictions.csv gives {again[fold]:.6f}, metrics.csv says {value:.6f}"
                )
        one = self.figures[self.figures.metric == metric]
        now = summarise(one, by_bootstrap(out_of_fold(self.results))).to_dict("records")[0]
        for name in FIGURES:
            if not np.isclose(now[name], chosen[name], equal_nan=True):
                self.differs.append(f"{self.table}: {name} is {chosen[name]:.6f}, the predictions give {now[name]:.6f}")

    def fold(self, result: FoldResult) -> dict[str, Any]:
        """A fold's model: whether it is this fold's, and made the predictions from these rows of folds.csv."""
        path = result.path.with_name("model.safetensors")
        made, sha256 = _needed(_header, path), file_sha256(result.path)
        if (made["dataset"], int(made["fold"])) != (result.dataset, result.fold):
            self.differs.append(f"{path}: is the model of {made['dataset']}, fold {made['fold']}")
        if made.get("predictions", sha256) != sha256:
            self.differs.append(f"{result.path}: is not what its model predicted when it was trained")
        rows = rows_fingerprint(_needed(read_folds, self.folds_table, result.fold))
        if made.get("rows", rows) != rows:
            self.differs.append(f"{self.folds_table}: fold {result.fold} is not divided as it was for training")
        self.features |= json.loads(made.get("features", "{}"))
        return {
            "fold": result.fold, self.name["metric"]: float(self.values[result.fold]), "predictions": str(result.path),
            "sha256": sha256, "best_epoch": int(made["best_epoch"]), "model": json.loads(made["model"]),
            "training": json.loads(made["training"]), "run": json.loads(made.get("run", "{}")),
        }  # fmt: skip

    def slides(self, read_features: bool) -> list[dict[str, Any]]:
        """Each slide that the folds used: its file, its content, and what its features were made with."""
        rows = {
            row.slide_id: row for row in _needed(read_slide_table, self.data / "slides.csv") if row.status == Status.OK
        }
        found = []
        for slide_id, mark in self.features.items():
            if (row := rows.get(slide_id)) is None:
                self.differs.append(
                    f"{slide_id}: was trained on and is not among the slides of {self.data / 'slides.csv'}"
                )
                continue
            store = self.stores / f"{slide_id}.zarr"
            attributes = read_attributes(store)
            if attributes.get("fingerprint") != mark or (read_features and not _is_whole(store)):
                self.differs.append(f"{slide_id}: its features are not those that were trained on")
            if not Path(row.path).exists():
                self.differs.append(
                    f"{slide_id}: {row.path} is not there (any more; or call this where snakemake was called)"
                )
            elif row.content and content_id(Path(row.path)) != row.content:
                self.differs.append(f"{slide_id}: {row.path} is another file than the one that was read")
            wanted = (
                "encoder",
                "weights",
                "precision",
                "target_mpp",
                "tile_px",
                "mpp",
                "version",
                "commit",
                "run",
                "sha256",
            )
            features = {key: attributes[key] for key in wanted if key in attributes}
            found.append(
                {"slide_id": slide_id, "file": row.path, "content": row.content, "tiles": row.tiles, "fingerprint": mark,
                 "features": features}
            )  # fmt: skip
        return found


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
        known = [
            ",".join(f"{key}={r[key]}" for key in SELECTORS) for _, r in (found if len(found) else table).iterrows()
        ]
        meant = f"{len(found)} rows of {path} are meant" if len(found) else f"no row of {path} is meant"
        raise ConfigError(f"--row {row}: {meant}; choose one of\n  " + "\n  ".join(known))
    return {str(key): value for key, value in found.iloc[0].items()}


def _needed(read: Any, *what: Any) -> Any:
    """What `read` gives; a file that is not there, or is damaged, is an error that names it."""
    try:
        return read(*what)
    except (OSError, SafetensorError, KeyError) as error:
        raise ConfigError(f"the number cannot be walked back, a file on the way is gone or damaged: {error}") from error


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, "numpy") as model:
        return model.metadata()


def _is_whole(store: Path) -> bool:
    try:
        return is_as_written(store)
    except StoreError:
        return False
