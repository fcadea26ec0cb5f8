"""Model against model on the same folds: corrected resampled t-test, DeLong's test for two classes, Holm's correction."""

import math
from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from roformermil.evaluation.intervals import ROUND_OFF, corrected_interval
from roformermil.evaluation.predictions import KEYS, OutOfFold

COMPARED = ("auroc", "average_precision")
COLUMNS = [
    "dataset", "encoder", "metric", "model", "against", "difference", "ci_low", "ci_high", "test", "statistic", "p", "p_holm",
    "folds",
]  # fmt: skip


class Comparison(NamedTuple):
    """A difference between two models and how far chance could have made it."""

    difference: float
    low: float  # 95% interval
    high: float
    statistic: float
    p: float  # two-sided
    folds: int  # that have a value of both


NOT_KNOWN = Comparison(math.nan, math.nan, math.nan, math.nan, math.nan, 0)


def compare_models(found: list[OutOfFold], metrics: pd.DataFrame, test_to_train: Mapping) -> pd.DataFrame:
    """Every pair of models of each data set, by each test, with Holm's correction over a data set's pairs.

    metrics: figures fold by fold (metrics.csv); test_to_train: each data set's test slides over training slides.
    """
    rows = []
    for (dataset, encoder), group in metrics.groupby(KEYS[:2], sort=False):
        of_model = {one.model: one for one in found if (one.dataset, one.encoder) == (dataset, encoder)}
        pairs = [(b, a) for a, b in combinations(of_model, 2)]
        binary = all(len(one.classes) == 2 for one in of_model.values())
        for metric in COMPARED:
            values = group[group.metric == metric].pivot(index="fold", columns="model", values="value")
            tests = {
                "corrected_t": [
                    corrected_t((values[a] - values[b]).to_numpy(), test_to_train[dataset]) for a, b in pairs
                ]
            }
            if metric == "auroc" and binary:
                tests["delong"] = [delong(of_model[a], of_model[b]) for a, b in pairs]
            for test, done in tests.items():
                holm = holm_correction(np.array([one.p for one in done]))
                rows += [
                    (dataset, encoder, metric, a, b, one.difference, one.low, one.high, test, one.statistic, one.p, q, one.folds)
                    for (a, b), one, q in zip(pairs, done, holm, strict=True)
                ]  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def corrected_t(differences: np.ndarray, test_to_train: float) -> Comparison:
    """Corrected resampled t-test of a mean difference over folds (Nadeau and Bengio, Machine Learning 52, 2003, section 3).

    differences: (k,) one a fold; NaN where a fold has none; test_to_train: test slides over training slides.
    """
    known = differences[np.isfinite(differences)]
    if len(known) < 2:
        return NOT_KNOWN
    mean, error = known.mean(), known.std(ddof=1) * math.sqrt(1 / len(known) + test_to_train)
    if error < ROUND_OFF:  # all folds differ by the same: there is no variance to judge by
        return NOT_KNOWN._replace(difference=mean, folds=len(known))
    low, high = corrected_interval(known, test_to_train, bounds=(-1, 1))
    statistic = mean / error
    return Comparison(mean, low, high, statistic, 2 * t.sf(abs(statistic), len(known) - 1), len(known))


def delong(one: OutOfFold, other: OutOfFold) -> Comparison:
    """DeLong's test of two AUROCs on the same slides, fold by fold; the difference is the mean over folds.

    A patient's slides are no independent trials: variances are Obuchowski's for clustered data (Biometrics 53, 1997),
    which are DeLong's (Biometrics 44, 1988) where each patient has one slide. Where each patient is tested in one fold, folds are
    independent test sets of models taken as they are, so the variance of the mean is the sum of the folds' over k^2; a
    patient that several folds test adds the covariance of what it contributes to each.
    """
    if not (np.array_equal(one.slides, other.slides) and np.array_equal(one.folds, other.folds)):
        raise ValueError(f"{one.model} and {other.model} were tested on different slides")
    names, patient = np.unique(one.patients, return_inverse=True)
    differences, variances, parts = [], [], []
    for fold in np.unique(one.folds):
        here = one.folds == fold
        truth = one.labels[here] == 1
        if truth.all() or not truth.any():
            continue
        scores = np.stack([one.probabilities[here, 1], other.probabilities[here, 1]])
        found = clustered_auroc(truth, scores, patient[here], len(names))
        differences.append(found.areas[0] - found.areas[1])
        variances.append(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
        parts.append(found.influence[0] - found.influence[1])
    if not differences:
        return NOT_KNOWN
    across = np.square(np.sum(parts, axis=0)).sum() - np.square(parts).sum()  # twice the folds' covariances
    mean, error = float(np.mean(differences)), math.sqrt(max(0.0, np.sum(variances) + across)) / len(differences)
    if not error > ROUND_OFF:  # equal rankings; NaN: a fold has one patient of a class
        return NOT_KNOWN._replace(difference=mean, folds=len(differences))
    half = norm.ppf(0.975) * error
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return Comparison(mean, low, high, mean / error, 2 * norm.sf(abs(mean / error)), len(differences))


class Areas(NamedTuple):
    """AUROCs of M scores on the same slides."""

    areas: np.ndarray  # (M,)
    covariance: np.ndarray  # (M, M); NaN where a class has fewer than two clusters
    influence: np.ndarray  # (M, I) what each cluster adds to its area beyond expectation


def clustered_auroc(truth: np.ndarray, scores: np.ndarray, clusters: np.ndarray, count: int) -> Areas:
    """M scores (M, n) of n slides, which are of clusters 0 to count - 1: (n,) int. Obuchowski 1997, equations 3 to 6."""
    positive, negative = scores[:, truth], scores[:, ~truth]  # (M, P), (M, N)
    order = np.sign(positive[:, :, None] - negative[:, None, :]) / 2 + 0.5  # (M, P, N)
    areas = order.mean(axis=(1, 2))
    member = np.eye(count)[clusters]  # (n, I)
    # (M, I): what a cluster's positives, then its negatives, have above their expectation
    above = (order.mean(axis=2) - areas[:, None]) @ member[truth] / positive.shape[1]
    below = (order.mean(axis=1) - areas[:, None]) @ member[~truth] / negative.shape[1]
    with_positive, with_negative, here = (member[part].any(axis=0).sum() for part in (truth, ~truth, slice(None)))
    if min(with_positive, with_negative) < 2:
        return Areas(areas, np.full((len(scores), len(scores)), np.nan), above + below)
    covariance = above @ above.T * (with_positive / (with_positive - 1))
    covariance += below @ below.T * (with_negative / (with_negative - 1))
    across = above @ below.T * (here / (here - 1))
    return Areas(areas, covariance + across + across.T, above + below)


def holm_correction(p: np.ndarray) -> np.ndarray:
    """Adjusted p values of a family of tests (Holm, Scand. J. Statist. 6, 1979). NaN stays NaN and does not count."""
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
