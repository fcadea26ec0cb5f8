"""External validation: each model's metrics where it was trained and on an external data set, and the drop between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.intervals import (
    LEVEL,
    degrees_of_freedom,
    jackknife_error,
    jackknife_interval,
    leave_patients_out,
)
from roformermil.evaluation.patients import by_patient
from roformermil.evaluation.position import LARGE
from roformermil.evaluation.predictions import KEYS, OutOfFold, join_folds
from roformermil.tasks import METRIC_TITLES, task_with

ESTIMATES = (
    "internal",
    "members",
    "external",
)  # in cross-validation; of single models and of their ensemble on external slides
COLUMNS = [*KEYS, "trained_on", "level", "slides", "patients", "metric"]
COLUMNS += [column for name in (*ESTIMATES, "drop") for column in (name, f"{name}_low", f"{name}_high")]


def external_table(results: Sequence[FoldResult]) -> pd.DataFrame:
    """The rows of external.csv: of each external data set, model and metric, the mean over folds in cross-validation (`internal`),
    the mean over the same models on the external slides (`members`), what their ensemble reaches there (`external`), and
    the `drop`, internal less members, or of an error members less internal: above 0 where external slides are predicted worse;
    each with its 95% interval over patients. By slide, and again by patient where external ones have several slides (`level`).

    The drop compares like with like: single models on both sides, since an ensemble is usually better than its members.
    """
    models = {one.key: one for one in join_folds(list(results))}
    rows = []
    for model in models.values():
        members = model.select(model.are_labelled)
        if not model.trained_on or not len(members.targets):
            continue
        internal = models.get((model.trained_on, model.encoder, model.model))
        rows += _level_rows(internal, members)
        if patients := by_patient(members):
            rows += _level_rows(internal and (by_patient(internal) or internal), patients)
    return pd.DataFrame(rows, columns=COLUMNS)


def _level_rows(internal: OutOfFold | None, members: OutOfFold) -> list[tuple]:
    """The rows of a model: by slide, or by patient where the predictions are so."""
    given = {"internal": internal, "members": members, "external": members.average_folds()}
    models = {name: one for name, one in given.items() if one}
    left_out = {name: leave_patients_out(one, one.task.weighted_metrics) for name, one in models.items()}
    has_all = all(rows.any() for rows in members.task.groups(members.targets).values())
    size = (members.unit, len(set(members.slides)), len(set(members.patients)))
    rows = []
    for metric in members.task.metrics:
        bounds, limits = members.task.bounds_of(metric), members.task.difference_bounds(metric)
        values = {
            name: (of_metric[metric], degrees_of_freedom(models[name], metric)) for name, of_metric in left_out.items()
        }
        cells = [_estimate(*values[name], bounds) if name in values else (np.nan,) * 3 for name in ESTIMATES]
        better, worse = ("members", "internal") if metric in members.task.lower_is_better else ("internal", "members")
        drop = difference(*values[better], *values[worse], limits) if internal and has_all else (np.nan,) * 3
        rows.append((*members.key, members.trained_on, *size, metric, *(x for cell in [*cells, drop] for x in cell)))
    return rows


def _estimate(left_out: np.ndarray, degrees: int, bounds: tuple[float, float]) -> tuple[float, ...]:
    return left_out[0], *jackknife_interval(left_out, degrees, bounds=bounds)


def difference(
    first: np.ndarray, degrees: int, second: np.ndarray, other_degrees: int, bounds: tuple[float, float] = (-1.0, 1.0)
) -> tuple[float, float, float]:
    """The first value less the second, which come from different patients, with its 95% interval.

    first, second: as of `leave_patients_out`. Variances of independent samples add up; Student's t has the degrees of freedom of
    Welch and Satterthwaite (Welch, Biometrika 34, 1947). NaN bounds where neither changes with the patients.
    """
    variances = np.array([jackknife_error(one) ** 2 for one in (first, second)])
    value = float(first[0] - second[0])
    if not (total := variances.sum()) > 0:  # also where one is NaN
        return value, np.nan, np.nan
    if np.isinf(total):
        return value, *(bounds if np.isfinite(bounds).all() else (np.nan, np.nan))
    effective = total**2 / (variances**2 / [degrees, other_degrees]).sum()
    half = t.ppf((1 + LEVEL) / 2, effective) * np.sqrt(total)
    return value, max(bounds[0], value - half), min(bounds[1], value + half)


def drop_sentences(external: pd.DataFrame) -> list[tuple[Mapping[Any, Any], str]]:
    """Rows of external.csv with what they say in words: of each model's main metrics, and of others that measurably drop. By slide,
    where there is that."""
    if external.empty:
        return []
    task = task_with(external.metric)
    drops = external.metric.isin(task.reported) & (external.drop_low > 0)
    by_slide = ~external.duplicated([*KEYS, "metric"])
    told = external[by_slide & (external.metric.isin(task.transferred) | drops)]
    return [(row, sentence) for row in told.to_dict("records") if (sentence := drop_sentence(row))]


def drop_sentence(row: Mapping[Any, Any]) -> str:
    """What a row of external.csv says in words; "" where it has no drop."""
    if not np.isfinite(row["drop"]):
        return ""
    metric = row["metric"]
    task = task_with([metric])
    is_error = metric in task.lower_is_better
    worse, better = ("larger", "smaller") if is_error else ("lower", "higher")
    title = METRIC_TITLES[metric]
    change = f"{title[:1].upper()}{title[1:]} of single models is {row['members']:.2f} on {row['dataset']} and {row['internal']:.2f} in cross-validation"
    change += f" on {row['trained_on']}"
    end = "; it also depends on how frequent the classes are" if metric in task.depend_on_frequencies else ""
    low, high = row["drop_low"], row["drop_high"]
    if not np.isfinite([low, high]).all():
        return f"{change}: there is no interval of the difference."
    if low > 0:
        return f"{change}: it is {worse} on external slides by {row['drop']:.2f} [{low:.2f}, {high:.2f}]{end}."
    if high < 0:
        return f"{change}: it is {better} on external slides by {-row['drop']:.2f} [{-high:.2f}, {-low:.2f}]{end}."
    measured = f"{change}: no measurable drop, {row['drop']:+.2f} [{low:+.2f}, {high:+.2f}]"
    return (
        f"{measured}, but these patients are too few to exclude one of {LARGE}."
        if high > LARGE and not is_error
        else f"{measured}."
    )
