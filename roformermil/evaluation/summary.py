"""Metrics of each fold, over folds and of each class."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.intervals import (
    Values,
    degrees_of_freedom,
    jackknife_interval,
    leave_patients_out,
    mean_over_folds,
    patient_intervals,
)
from roformermil.evaluation.pooled import POOLED, pooled_auroc
from roformermil.evaluation.predictions import KEYS, OutOfFold, bag_ids, read_table, targets_and_predictions
from roformermil.tasks.class_metrics import CLASS_METRICS, class_metrics

Row = tuple[Any, ...]  # data set, encoder, model, metric
Interval = Callable[[Row, np.ndarray], Sequence[float] | np.ndarray]  # (low, high) of a row and its values over folds
STATISTICS = ["mean", "std", "ci_low", "ci_high", "folds", "seeds", "seed_std"]
POSITION = ["shuffled", "shuffled_difference", "difference_low", "difference_high"]


def fold_metrics(
    results: list[FoldResult], part: str = "test", slides: Mapping[str, set[str]] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The metrics of each fold and seed on a part, a row per metric; and each data set's mean number of slides per fold:
    evaluated (`test`) and `train`.

    slides: if given, only these slide ids of each data set count; a metric that is undefined for them is NaN. An external data
    set without labels has no rows.
    """
    rows, sizes = [], []
    for result in results:
        table = read_table(result.path)
        chosen = table[(table.part == part) & table.label.notna()]
        if result.is_external and chosen.empty:
            continue
        if slides is not None:
            chosen = chosen[bag_ids(chosen).isin(slides[result.dataset])]
        sizes.append((result.dataset, len(chosen), (table.part == "train").sum()))
        task = result.task
        values = task.compute_metrics(*targets_and_predictions(chosen, task)) if len(chosen) else {}
        run = (*result.key, result.fold, result.trained_seed)
        rows += [(*run, name, values.get(name, np.nan)) for name in task.metrics]
    metrics = pd.DataFrame(rows, columns=[*KEYS, "fold", "seed", "metric", "value"])
    return metrics, pd.DataFrame(sizes, columns=["dataset", "test", "train"]).groupby("dataset").mean()


def metrics_of(model: OutOfFold) -> pd.DataFrame:
    """The metrics of a model's predictions by fold and seed, in the columns of `fold_metrics`."""
    rows = []
    for (fold, seed), tested in zip(model.runs, model.tests, strict=True):
        values = model.task.compute_metrics(model.targets[tested], model.predictions[tested])
        rows += [(*model.key, fold, seed, name, values[name]) for name in model.task.metrics]
    return pd.DataFrame(rows, columns=[*KEYS, "fold", "seed", "metric", "value"])


def with_ensembles(metrics: pd.DataFrame, models: list[OutOfFold]) -> pd.DataFrame:
    """The metrics of each fold; of external data sets those of the ensemble instead of those of its members."""
    external = [model for model in models if model.trained_on]
    internal = metrics[~metrics.dataset.isin([model.dataset for model in external])]
    return pd.concat([internal, *map(metrics_of, external)], ignore_index=True) if external else metrics


def mean_over_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Each fold's metrics, means over its seeds: the columns of metrics.csv without `seed`."""
    return metrics.groupby([*KEYS, "fold", "metric"], sort=False).value.mean().reset_index()


def summarise(metrics: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Mean, standard deviation (n - 1) and 95% interval over folds, and the standard deviation over seeds of the mean over
    folds. A fold's value is its mean over seeds; one that lacks a class has only accuracy.

    metrics: as of `fold_metrics`; interval: gives it from a row and its values over folds.
    """
    rows = []
    for key, group in metrics.groupby([*KEYS, "metric"], sort=False):
        values = mean_over_seeds(group).value.to_numpy(float)
        values = values[np.isfinite(values)]
        mean = values.mean() if len(values) else np.nan
        seeds = group.groupby("seed").value.mean()
        rows.append((*key, mean, _std(values), *interval(key, values), len(values), len(seeds), _std(seeds.to_numpy())))
    return pd.DataFrame(rows, columns=[*KEYS, "metric", *STATISTICS])


def _std(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def summary_table(metrics: pd.DataFrame, models: list[OutOfFold]) -> pd.DataFrame:
    """The rows of summary.csv: each model's metrics, means over folds, and with classes POOLED; with intervals over patients, the spread
    over seeds and, for models that use positions, the metric with shuffled positions. Of an external data set, those of the
    ensemble, as one fold.

    metrics: of all these models, as of `fold_metrics`.
    """
    left_out = {model.key: metrics_without_patients(model) for model in models}
    by_key = {model.key: model for model in models}

    def interval(row: Row, _: np.ndarray) -> np.ndarray:
        *names, metric = row
        key = tuple(names)
        degrees, bounds = degrees_of_freedom(by_key[key], metric), by_key[key].task.bounds_of(metric)
        return jackknife_interval(left_out[key][metric], degrees, bounds=bounds)

    summary = summarise(with_ensembles(metrics, models), interval)
    tables = []
    for model in models:
        own = summary[(summary[KEYS] == list(model.key)).all(axis=1)]
        pooled = [_pooled_row(model, left_out[model.key][POOLED])] if model.classes else []
        rows = pd.concat([own, pd.DataFrame(pooled, columns=summary.columns)]) if pooled else own
        shuffled = model.with_positions_shuffled()
        without = left_out[model.key], metrics_without_patients(shuffled) if shuffled else None
        effects = [_position_effect(model, *without, metric) for metric in rows.metric]
        tables.append(rows.assign(**dict(zip(POSITION, np.transpose(effects), strict=True))))
    return pd.concat(tables, ignore_index=True)


def metrics_without_patients(model: OutOfFold) -> Values:
    """The metrics, with classes also POOLED, of all patients, means over folds, and then without each of them: (1 + I,), as of
    `leave_patients_out`."""
    pooled = {POOLED: pooled_auroc(model)} if model.classes else {}
    return leave_patients_out(model, model.task.weighted_metrics) | pooled


def _pooled_row(model: OutOfFold, left_out: np.ndarray) -> Row:
    """The row of POOLED, which has no value per fold."""
    by_seed = [pooled_auroc(model.select(model.seeds == seed))[0] for seed in np.unique(model.seeds)]
    low, high = jackknife_interval(left_out, degrees_of_freedom(model))
    spread = _std(np.array(by_seed))
    return *model.key, POOLED, left_out[0], np.nan, low, high, model.fold_count, len(by_seed), spread


def _position_effect(model: OutOfFold, left_out: Values, shuffled: Values | None, metric: str) -> tuple[float, ...]:
    """The cells of POSITION: the metric with shuffled positions, by how much these lower it, and the interval of that."""
    if shuffled is None:
        return (np.nan,) * len(POSITION)
    difference = left_out[metric] - shuffled[metric]
    bounds = model.task.difference_bounds(metric)
    interval = jackknife_interval(difference, degrees_of_freedom(model, metric), bounds=bounds)
    return shuffled[metric][0], difference[0], *interval


def class_table(models: list[OutOfFold]) -> pd.DataFrame:
    """Each class's CLASS_METRICS against the rest, mean over folds with 95% interval, and its number of slides."""
    rows = []
    for model in models:
        means, intervals = mean_over_folds(model, class_metrics), patient_intervals(model, class_metrics)
        counts = np.bincount(model.without_repeats().targets, minlength=len(model.classes))
        for metric in CLASS_METRICS:
            low, high = intervals[metric]
            rows += [
                (*model.key, name, int(counts[c]), metric, means[metric][0, c], low[c], high[c])
                for c, name in enumerate(model.classes)
            ]
    return pd.DataFrame(rows, columns=[*KEYS, "class", "slides", "metric", "mean", "ci_low", "ci_high"])
