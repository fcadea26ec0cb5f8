"""A number traced back: summary, folds, predictions, model, features, slide files, each compared with what was used."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from roformermil.bags.folds import read_folds
from roformermil.cohort.covariates import FILE as COVARIATES_FILE
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_table import SlideRecord, read_slide_table
from roformermil.errors import ConfigError, ModelError, StoreError
from roformermil.evaluation.consistency import compare_covariates, compare_files, compare_rows
from roformermil.evaluation.fold_results import FoldResult, fold_folder
from roformermil.evaluation.pooled import POOLED
from roformermil.evaluation.predictions import KEYS, out_of_fold, read_table
from roformermil.evaluation.summary import POSITION, STATISTICS, fold_metrics, summary_table
from roformermil.features.store import matches_checksum, read_attributes
from roformermil.runtime.files import file_sha256

SELECTORS = [*KEYS, "metric"]
SHARED = ("model", "training", "run")  # settings and versions, usually those of all folds
Run = tuple[int, int]  # fold and seed
T = TypeVar("T")


def trace_number(table: Path, row: str, read_features: bool = False) -> dict[str, Any]:
    """The origin of the numbers in one row of `summary.csv`, as plain values; `differs` lists what changed since.

    row: its number (1 is the first below the header), or `key=value` pairs, comma between: `model=ro-abmil,metric=auroc`.
    read_features: also read every feature store and compare its content, instead of its attributes alone.
    Raises ConfigError unless exactly one row matches, and when a file is missing or damaged.
    """
    chosen = _select_row(table, row)
    key = {name: chosen[name] for name in SELECTORS}
    metrics = _rows_with(_read(read_table, table.with_name("metrics.csv")), {name: key[name] for name in KEYS})
    runs = list(dict.fromkeys(zip(metrics.fold.tolist(), metrics.seed.tolist(), strict=True)))
    metrics = metrics[metrics.metric == key["metric"]]  # none of POOLED, which no fold has alone
    values = dict(zip(zip(metrics.fold, metrics.seed, strict=True), metrics.value.tolist(), strict=True))
    folder = table.parent / key["dataset"]
    folds_table, slide_table, stores = folder / "folds.csv", folder / "slides.csv", folder / "features" / key["encoder"]
    models = folder / key["encoder"] / key["model"]
    results = [FoldResult.at(models / folder / "predictions.csv") for folder in _folders(runs)]
    fingerprints = {name: text for result in results for name, text in _features(result).items()}
    records = {record.slide_id: record for record in _read(read_slide_table, slide_table) if record.is_ok}
    differs = compare_statistics(table, chosen, values, results)
    for result in results:
        rows = _read(read_folds, folds_table, result.fold)
        lines = [*compare_files(result), *compare_rows(result, rows)]
        lines += compare_covariates(result, rows, folds_table.with_name(COVARIATES_FILE))
        differs += [f"{result.path.parent}: {line}" for line in lines]
    for slide_id, fingerprint in fingerprints.items():
        if slide_id in records:
            differs += compare_slide(stores, records[slide_id], fingerprint, read_features)
        else:
            differs.append(f"{slide_id}: was used in training, but is not a usable slide in {slide_table}")
    return {
        **key,
        **{name: chosen[name] for name in STATISTICS},
        **{name: chosen[name] for name in POSITION if np.isfinite(chosen[name])},
        "tables": json.loads(table.with_name("provenance.json").read_text(encoding="utf-8")),
        "folds_table": {"path": str(folds_table), "sha256": file_sha256(folds_table)},
        "folds": [_describe_run(*pair, key["metric"], values) for pair in zip(runs, results, strict=True)],
        "slides": [
            _describe_slide(stores, records[name], fingerprints[name]) for name in fingerprints if name in records
        ],
        "differs": differs,
    }


def summarise_trace(trace: Mapping[str, Any]) -> dict[str, Any]:
    """The trace for a person: differences first, what all folds share only once, slides only counted."""
    first, *others = trace["folds"]
    shared = [key for key in SHARED if all(fold[key] == first[key] for fold in others)]
    return {
        "differs": trace["differs"] or "nothing",
        **{key: value for key, value in trace.items() if key != "differs"},
        "tables": {"run": trace["tables"]["run"], "config": "in provenance.json"},
        "all_folds": {key: first[key] for key in shared},
        "folds": [{key: value for key, value in fold.items() if key not in shared} for fold in trace["folds"]],
        "slides": f"{len(trace['slides'])}, listed by --slides",
    }


def compare_statistics(table: Path, row: Mapping, values: Mapping[Run, float], results: list[FoldResult]) -> list[str]:
    """How the row of the table and its metric in each fold differ from what the predictions give now."""
    metrics, _ = _read(fold_metrics, results)
    summary = _read(summary_table, metrics, _read(out_of_fold, results))
    (now,) = summary[summary.metric == row["metric"]].to_dict("records")
    metrics = metrics[metrics.metric == row["metric"]]
    before = [values.get(run, np.nan) for run in zip(metrics.fold, metrics.seed, strict=True)]
    return [
        f"fold {result.run}: predictions.csv gives {value:.6f}, metrics.csv contains {old:.6f}"
        for result, value, old in zip(results if before else (), metrics.value, before, strict=True)
        if not np.isclose(value, old, equal_nan=True)
    ] + [
        f"{table}: {name} is {row[name]:.6f}, the predictions give {now[name]:.6f}"
        for name in (*STATISTICS, *POSITION)
        if not np.isclose(now[name], row[name], equal_nan=True)
    ]


def compare_slide(stores: Path, record: SlideRecord, fingerprint: str, read_features: bool) -> list[str]:
    """How a slide's features and file differ from those that were used."""
    differs, store = [], stores / f"{record.slide_id}.zarr"
    if read_attributes(store).get("fingerprint") != fingerprint or (read_features and not _is_intact(store)):
        differs.append(f"{record.slide_id}: its features changed since training")
    if not record.path.exists():
        place = "relative paths start where snakemake was called"
        differs.append(f"{record.slide_id}: {record.path} does not exist; {place}")
    elif record.content and content_id(record.path) != record.content:
        differs.append(f"{record.slide_id}: {record.path} changed since it was read")
    return differs


def _features(result: FoldResult) -> dict[str, str]:
    """The fingerprint of each slide's features when the fold was trained."""
    return json.loads(_read(lambda: result.metadata)["features"])


def _folders(runs: list[Run]) -> list[str]:
    """The folders of a model's trainings: the first seed of each fold has the fold's name."""
    first = {fold: min(seed for number, seed in runs if number == fold) for fold, _ in runs}
    return [fold_folder(fold, None if seed == first[fold] else seed) for fold, seed in runs]


def _describe_run(run: Run, result: FoldResult, metric: str, values: Mapping[Run, float]) -> dict[str, Any]:
    return {
        "fold": run[0],
        "seed": run[1],
        **({} if metric == POOLED else {metric: values[run]}),
        "predictions": str(result.path),
        "sha256": file_sha256(result.path),
        "best_epoch": int(result.metadata["best_epoch"]),
        **_settings(result),
    }


def _settings(result: FoldResult) -> dict[str, Any]:
    """What SHARED names, without the seed, which differs by training."""
    settings = {name: json.loads(result.metadata[name]) for name in SHARED}
    settings["training"].pop("seed", None)
    return settings


def _describe_slide(stores: Path, record: SlideRecord, fingerprint: str) -> dict[str, Any]:
    attributes = read_attributes(stores / f"{record.slide_id}.zarr")
    return {
        "slide_id": record.slide_id,
        "file": str(record.path),
        "content": record.content,
        "tiles": record.tiles,
        "fingerprint": fingerprint,
        "features": {key: value for key, value in attributes.items() if key not in ("slide_id", "fingerprint")},
    }


def _select_row(path: Path, row: str) -> dict[str, Any]:
    """The one row of a summary.csv that `row` matches."""
    table = read_table(path)
    if list(table.columns[: len(SELECTORS) + 1]) != [*SELECTORS, "mean"]:
        advice = "the only table whose rows can be traced; for a comparison, trace its two models"
        raise ConfigError(f"{path}: not a summary.csv, {advice}")
    if row.isdigit():
        matches = table[np.arange(1, len(table) + 1) == int(row)]
    else:
        pairs = dict(pair.split("=", 1) for pair in row.split(",") if "=" in pair)
        if not pairs or not set(pairs) <= set(SELECTORS):
            example = f"pairs of {', '.join(SELECTORS)}, such as model=ro-abmil,metric=auroc"
            raise ConfigError(f"--row {row}: give a row's number, or {example}")
        matches = _rows_with(table, pairs)
    if len(matches) != 1:
        count = f"matches {len(matches)} rows" if len(matches) else "matches no row"
        listed = (matches if len(matches) else table)[SELECTORS].to_dict("records")
        choices = "\n  ".join(",".join(f"{key}={value}" for key, value in one.items()) for one in listed)
        raise ConfigError(f"--row {row}: {count} of {path}; choose one of\n  {choices}")
    return matches.to_dict("records")[0]


def _rows_with(table: pd.DataFrame, values: Mapping[str, str]) -> pd.DataFrame:
    return table[(table[list(values)] == pd.Series(values)).all(axis=1)]


def _read(read: Callable[..., T], *arguments: Any) -> T:
    """What `read` returns. Raises ConfigError for a file that is missing or damaged."""
    try:
        return read(*arguments)
    except (OSError, ModelError, KeyError) as error:
        raise ConfigError(f"the number cannot be traced: a file is missing or damaged: {error}") from error


def _is_intact(store: Path) -> bool:
    try:
        return matches_checksum(store)
    except StoreError:
        return False
