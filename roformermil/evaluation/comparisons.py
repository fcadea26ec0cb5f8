"""Models compared on the same folds: corrected resampled t-test, DeLong's test for two classes, Holm's correction."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from roformermil.evaluation.intervals import (
    LEVEL,
    ROUND_OFF,
    corrected_interval,
    degrees_of_freedom,
    jackknife_error,
    jackknife_interval,
    leave_patients_out,
)
from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.summary import mean_over_seeds


class Comparison(NamedTuple):
    """The difference between two models, and how likely chance alone makes one as large."""

    difference: float
    ci_low: float  # 95% interval
    ci_high: float
    statistic: float
    p: float  # two-sided
    folds: int  # in which both models have a value


UNTESTED = Comparison(math.nan, math.nan, math.nan, math.nan, math.nan, 0)
IDS = [*KEYS[:2], "metric", "model", "against"]
COLUMNS = [*IDS, "difference", "ci_low", "ci_high", "test", "statistic", "p", "p_holm", "folds"]


def compare_models(models: list[OutOfFold], metrics: pd.DataFrame, test_to_train: Mapping) -> pd.DataFrame:
    """Every pair of models of each data set by each test, with Holm's correction over the data set's pairs. On external data sets,
    which no folds divide, the ensembles are compared over patients.

    metrics: those of each fold and seed (metrics.csv); test_to_train: each data set's test slides over training slides.
    """
    rows = []
    for (dataset, encoder), group in metrics.groupby(KEYS[:2], sort=False):
        folds = mean_over_seeds(group)
        by_name = {model.model: model for model in models if model.key[:2] == (dataset, encoder)}
        pairs = [(second, first) for first, second in combinations(by_name, 2)]
        is_external = any(model.trained_on for model in by_name.values())
        tasks = [model.task for model in by_name.values()]
        for metric in tasks[0].compared:
            if is_external:  # its slides are tested by each fold: folds are not independent, patients are
                tests = {"jackknife": [jackknife_t(by_name[a], by_name[b], metric) for a, b in pairs]}
            else:
                tests = {
                    "corrected_t": _corrected_tests(
                        folds, metric, pairs, test_to_train[dataset], tasks[0].difference_bounds(metric)
                    )
                }
            if metric == "auroc" and all(len(task.classes) == 2 for task in tasks):
                tests["delong"] = [delong(by_name[a], by_name[b]) for a, b in pairs]
            for test, comparisons in tests.items():
                key = {"dataset": dataset, "encoder": encoder, "metric": metric, "test": test}
                adjusted = holm_correction(np.array([comparison.p for comparison in comparisons]))
                rows += [
                    {**key, "model": a, "against": b, **comparison._asdict(), "p_holm": p_holm}
                    for (a, b), comparison, p_holm in zip(pairs, comparisons, adjusted, strict=True)
                ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _corrected_tests(
    folds: pd.DataFrame, metric: str, pairs: list[tuple[str, str]], test_to_train: float, bounds: tuple[float, float]
) -> list[Comparison]:
    values = folds[folds.metric == metric].pivot(index="fold", columns="model", values="value")
    return [corrected_t((values[a] - values[b]).to_numpy(), test_to_train, bounds) for a, b in pairs]


def jackknife_t(first: OutOfFold, second: OutOfFold, metric: str) -> Comparison:
    """The difference of two models' metric on the same slides, with Student's t over its jackknife error, leaving out one patient
    at a time: for external data sets, whose slides one fold tests, and for metrics that `delong` does not cover."""
    one, other = (leave_patients_out(model, model.task.weighted_metrics)[metric] for model in (first, second))
    left_out, degrees = one - other, degrees_of_freedom(first, metric)
    error = jackknife_error(left_out)
    if not ROUND_OFF < error < np.inf:
        return UNTESTED._replace(difference=left_out[0], folds=1 if np.isfinite(left_out[0]) else 0)
    statistic = left_out[0] / error
    low, high = jackknife_interval(left_out, degrees, bounds=first.task.difference_bounds(metric))
    return Comparison(left_out[0], low, high, statistic, 2 * t.sf(abs(statistic), degrees), 1)


def corrected_t(differences: np.ndarray, test_to_train: float, bounds: tuple[float, float] = (-1.0, 1.0)) -> Comparison:
    """Corrected resampled t-test of a mean difference over folds (Nadeau and Bengio, Machine Learning 52, 2003, section 3).

    differences: (k,) one per fold; NaN where a fold has none; test_to_train: test slides over training slides; bounds: between
    which a difference lies.
    """
    known = differences[np.isfinite(differences)]
    if len(known) < 2:
        return UNTESTED
    mean, error = known.mean(), known.std(ddof=1) * math.sqrt(1 / len(known) + test_to_train)
    if error < ROUND_OFF:  # the folds' differences are equal: there is no variance to compare with
        return UNTESTED._replace(difference=mean, folds=len(known))
    interval, p = corrected_interval(known, test_to_train, bounds=bounds), 2 * t.sf(abs(mean / error), len(known) - 1)
    return Comparison(mean, *interval, mean / error, p, len(known))


def delong(first: OutOfFold, second: OutOfFold) -> Comparison:
    """DeLong's test of two AUROCs on the same slides, fold by fold; the difference is the mean over seeds and folds.

    A patient's slides are not independent: variances are Obuchowski's for clustered data (Biometrics 53, 1997), which are
    DeLong's (Biometrics 44, 1988) where each patient has one slide. Where each patient is tested in one fold, folds are
    independent test sets of the models as trained, and the variance of the mean is the sum of the folds' over k^2. A
    patient whom several folds test adds the covariance of the contributions to each. Seeds of a fold share its test slides:
    the covariance matrix of their AUROCs gives the variance of the difference between the models' means.
    Raises ValueError for models that were tested on different slides.
    """
    names, differences, variances, influences = np.unique(first.patients), [], [], []
    for fold in np.union1d(first.folds, second.folds):
        trainings = [_trainings_of_fold(model, fold) for model in (first, second)]
        slides = [one.slides for models in trainings for one in models]
        if not (all(trainings) and all(np.array_equal(slides[0], others) for others in slides)):
            raise ValueError(f"{first.model} and {second.model} were tested on different slides")
        tested = trainings[0][0]
        truth, patients = tested.targets == 1, np.searchsorted(names, tested.patients)
        if truth.all() or not truth.any():
            continue
        scores = np.stack([one.predictions[:, 1] for models in trainings for one in models])
        areas, covariance, influence = clustered_auroc(truth, scores, patients, len(names))
        counts = [len(models) for models in trainings]
        signs = np.repeat(
            [1 / counts[0], -1 / counts[1]], counts
        )  # mean over seeds of the first, less that of the second
        differences.append(signs @ areas)
        variances.append(signs @ covariance @ signs)
        influences.append(signs @ influence)
    if not differences:
        return UNTESTED
    covariances = np.square(np.sum(influences, axis=0)).sum() - np.square(influences).sum()  # twice those between folds
    mean, error = float(np.mean(differences)), math.sqrt(max(0.0, np.sum(variances) + covariances)) / len(differences)
    if not error > ROUND_OFF:  # equal rankings; NaN: a fold has only one patient of a class
        return UNTESTED._replace(difference=mean, folds=len(differences))
    half = norm.ppf((1 + LEVEL) / 2) * error
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return Comparison(mean, low, high, mean / error, 2 * norm.sf(abs(mean / error)), len(differences))


def _trainings_of_fold(model: OutOfFold, fold: int) -> list[OutOfFold]:
    """The predictions of each seed of a fold."""
    runs = zip(model.runs, model.tests, strict=True)
    return [model.select(tested) for (number, _), tested in runs if number == fold]


def clustered_auroc(
    truth: np.ndarray, scores: np.ndarray, clusters: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AUROCs (M,) of M scores on n slides, their covariance (M, M), and how far each cluster moves them (M, count).

    truth: (n,) bool; scores: (M, n); clusters: (n,) from 0 to count - 1. The covariance is NaN where a class has fewer than
    two clusters. Obuchowski 1997, equations 3 to 6.
    """
    positive, negative = scores[:, truth], scores[:, ~truth]  # (M, P), (M, N)
    order = np.sign(positive[:, :, None] - negative[:, None, :]) / 2 + 0.5  # (M, P, N)
    areas = order.mean(axis=(1, 2))
    member = np.eye(count)[clusters]  # (n, I)
    # (M, I): by how much a cluster's positive, then its negative slides exceed their expectation
    positive_excess = (order.mean(axis=2) - areas[:, None]) @ member[truth] / positive.shape[1]
    negative_excess = (order.mean(axis=1) - areas[:, None]) @ member[~truth] / negative.shape[1]
    sizes = [member[rows].any(axis=0).sum() for rows in (truth, ~truth, slice(None))]
    for_positive, for_negative, for_both = (size / (size - 1) if size > 1 else np.nan for size in sizes)
    covariance = positive_excess @ positive_excess.T * for_positive + negative_excess @ negative_excess.T * for_negative
    between = positive_excess @ negative_excess.T * for_both
    return areas, covariance + between + between.T, positive_excess + negative_excess


def holm_correction(p: np.ndarray) -> np.ndarray:
    """Adjusted p values of a family of tests (Holm, Scand. J. Statist. 6, 1979). NaN remains NaN and does not count."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
