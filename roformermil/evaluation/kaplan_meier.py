"""Kaplan-Meier curves of patients whose risk is low and of those whose risk is high, and the log-rank test between them.

A model's risks have no scale of their own: low and high mean below and above the median risk of the fold's validation patients,
whom its test patients never influenced. Test patients of all folds are then joined. A patient's risk is the mean over their
slides, and each patient counts once, since slides of a patient have one time and one event between them.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import CensoredData, ecdf, logrank

from roformermil.evaluation.intervals import LEVEL
from roformermil.evaluation.patients import by_patient, mixed_patients
from roformermil.evaluation.predictions import KEYS, OutOfFold

GROUPS_TABLE = "survival_groups"  # of the tasks that name it
GROUPS = ("low", "high")
CURVE_COLUMNS = ["group", "time", "at_risk", "events", "censored", "survival", "ci_low", "ci_high"]
GROUP_COLUMNS = [
    "fold",
    "cut",
    "group",
    "patients",
    "events",
    "median",
    "median_low",
    "median_high",
    "logrank_chi2",
    "p",
]


def kaplan_meier(times: np.ndarray, events: np.ndarray) -> pd.DataFrame:
    """The probability of no event until each time at which something happened (Kaplan and Meier, J. Am. Stat. Assoc. 53, 1958), with
    time 0 before: CURVE_COLUMNS without `group`. at_risk: just before the time; ci: 95%, pointwise, Greenwood's variance on the
    log-log scale, NaN where it has none: before the first event and where survival is 0.

    times: (n,); events: (n,) bool.
    """
    sample = CensoredData(uncensored=times[events], right=times[~events])
    survival = ecdf(sample).sf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The confidence interval is undefined", RuntimeWarning)
        interval = survival.confidence_interval(LEVEL, method="log-log")
    at = np.unique(np.append(0.0, times))
    columns = [
        at,
        (times[:, None] >= at).sum(axis=0),
        (times[events][:, None] == at).sum(axis=0),
        (times[~events][:, None] == at).sum(axis=0),
        *(one.evaluate(at) for one in (survival, interval.low, interval.high)),
    ]
    return pd.DataFrame(dict(zip(CURVE_COLUMNS[1:], columns, strict=True)))


def median_time(curve: pd.DataFrame, column: str = "survival") -> float:
    """The first time at which the curve, or a bound of it, is at most 0.5; NaN where that is not reached."""
    below = curve[curve[column] <= 0.5]
    return float(below.time.iloc[0]) if len(below) else np.nan


def log_rank(times: np.ndarray, events: np.ndarray, is_high: np.ndarray) -> tuple[float, float]:
    """Chi-squared with one degree of freedom, and p, of the log-rank test (Mantel, Cancer Chemother. Rep. 50, 1966) between two groups;
    NaN where one is empty, nobody has an event, or nobody of the other group was observed as long."""
    if is_high.all() or not is_high.any() or not events.any():
        return np.nan, np.nan
    first, second = (
        CensoredData(uncensored=times[rows & events], right=times[rows & ~events]) for rows in (is_high, ~is_high)
    )
    with np.errstate(invalid="ignore"):  # NaN where nobody is left to compare with at any event
        test = logrank(first, second)
    return float(test.statistic**2), float(test.pvalue)


def risk_groups(model: OutOfFold, validation: OutOfFold) -> tuple[OutOfFold, np.ndarray]:
    """The tested patients, once each as the first repeat and seed predicted them, and the risk (n,) that divides low from high in
    the fold of each: the median of its validation patients, or for an external data set the mean of the members' medians.

    validation: predictions of validation slides by the same trainings.
    """
    cuts = {run: float(np.median(own.predictions[:, 0])) for run, own in _patients_by_run(validation).items()}
    patients = one_per_patient(model)
    if model.trained_on:
        first = model.seeds.min()
        members = [
            cut
            for (fold, seed), cut in cuts.items()
            if seed == first and fold < (validation.folds_per_repeat or np.inf)
        ]
        return patients, np.full(len(patients.patients), np.mean(members))
    runs = zip(patients.folds.tolist(), patients.seeds.tolist(), strict=True)
    return patients, np.array([cuts[run] for run in runs])


def one_per_patient(model: OutOfFold) -> OutOfFold:
    """The tested patients, once each, with the mean risk of their slides, as the first repeat and seed predicted them; where folds
    divide a patient's slides, with that of the first: risks of two folds have no common scale. Without patients whose slides
    differ in time or event."""
    tested = model.without_repeats()
    tested = tested.select(~np.isin(tested.patients, mixed_patients(tested)))
    patients = by_patient(tested) or tested
    return patients.select(np.sort(np.unique(patients.patients, return_index=True)[1]))


def _patients_by_run(model: OutOfFold) -> dict[tuple[int, int], OutOfFold]:
    runs = zip(model.runs, model.tests, strict=True)
    by_run = {run: model.select(own & model.are_labelled) for run, own in runs}
    return {run: by_patient(own) or own for run, own in by_run.items()}


def survival_tables(models: Sequence[OutOfFold], validation: Sequence[OutOfFold]) -> dict[str, pd.DataFrame]:
    """`survival_groups`, a row per fold and group and, without a fold, of all folds together with the log-rank test between them; and
    `survival_curves` of all folds together. {} where no model predicts survival.

    models: as of `of_ensembles`; validation: predictions of validation slides by each fold's model, in the order of the models.
    """
    groups, curves = [], []
    for model, own in zip(models, validation, strict=True):
        if GROUPS_TABLE not in model.task.tables:
            continue
        patients, cuts = risk_groups(model, own)
        keys = dict(zip(KEYS, model.key, strict=True))
        groups.append(groups_table(patients, cuts).assign(**keys))
        curves += [curve.assign(**keys, group=name) for name, curve in group_curves(patients, cuts).items()]
    if not groups:
        return {}
    tables = {GROUPS_TABLE: pd.concat(groups), "survival_curves": pd.concat(curves)}
    columns = {GROUPS_TABLE: [*KEYS, *GROUP_COLUMNS], "survival_curves": [*KEYS, *CURVE_COLUMNS]}
    return {
        name: table[columns[name]].astype({"fold": "Int64"} if "fold" in table else {})
        for name, table in tables.items()
    }


def group_curves(patients: OutOfFold, cuts: np.ndarray) -> dict[str, pd.DataFrame]:
    """The curve of each risk group, by name; an empty one for a group without patients."""
    is_high = patients.predictions[:, 0] > cuts
    members = zip(GROUPS, (~is_high, is_high), strict=True)
    return {
        name: kaplan_meier(patients.targets[rows, 0], patients.targets[rows, 1] > 0)
        if rows.any()
        else pd.DataFrame(columns=CURVE_COLUMNS[1:], dtype=float)
        for name, rows in members
    }


def groups_table(patients: OutOfFold, cuts: np.ndarray) -> pd.DataFrame:
    """GROUP_COLUMNS of each fold and of all together; of external patients of all together. cuts: (n,) of each patient."""
    rows = []
    folds = [] if patients.trained_on else np.unique(patients.folds).tolist()
    for fold in [*folds, None]:
        chosen = np.full(len(cuts), True) if fold is None else patients.folds == fold
        some, of_some = patients.select(chosen), cuts[chosen]
        is_high = some.predictions[:, 0] > of_some
        times, events = some.targets[:, 0], some.targets[:, 1] > 0
        cut = of_some[0] if len(np.unique(of_some)) == 1 else np.nan
        test = log_rank(times, events, is_high) if fold is None else (np.nan, np.nan)
        for name, curve in group_curves(some, of_some).items():
            inside = is_high == (name == GROUPS[1])
            medians = [median_time(curve, column) for column in ("survival", "ci_low", "ci_high")]
            counts = int(inside.sum()), int((inside & events).sum())
            rows.append((fold, cut, name, *counts, *(medians if fold is None else [medians[0], np.nan, np.nan]), *test))
    return pd.DataFrame(rows, columns=GROUP_COLUMNS)
