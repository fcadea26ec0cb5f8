"""Proportions of slides, such as sensitivity, with intervals by patient. Unlike a mean ± error these remain within 0 and 1, and
a proportion of 0 or 1 has one too."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import norm, t

from roformermil.evaluation.intervals import LEVEL, ROUND_OFF

Z = float(norm.ppf((1 + LEVEL) / 2))
Bounds = tuple[float, float]


class Proportion(NamedTuple):
    """A proportion of slides, and the number of independent slides that would tell as much about it."""

    value: float
    size: float

    @property
    def interval(self) -> Bounds:
        """Wilson's 95% interval (J. Am. Stat. Assoc. 22, 1927); NaN without slides."""
        if not self.size > 0:
            return np.nan, np.nan
        p, n = self.value, self.size
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        return (0.0 if p == 0 else float(middle - half)), (1.0 if p == 1 else float(middle + half))

    @property
    def complement(self) -> "Proportion":
        """That of the other slides."""
        return Proportion(1 - self.value, self.size)


def proportion(hits: np.ndarray, slides: np.ndarray, patients: np.ndarray) -> Proportion:
    """The sum of `hits` over that of `slides`, (n,) each: of one slide 0 or 1, or between where trainings differ.

    A patient's slides are not independent: the size is their number over the design effect (Rao and Scott, Biometrics 48,
    1992), which is 1 where each patient has one slide. Where all slides are alike it is the number of patients.
    """
    total = slides.sum()
    if not total > 0:
        return Proportion(np.nan, 0.0)
    value = float(hits.sum() / total)
    variance = value * (1 - value)
    if variance < ROUND_OFF:
        return Proportion(round(value), min(float(total), len(np.unique(patients[slides > 0]))))
    excess = _sum_by_patient(hits - value * slides, patients)
    return Proportion(value, float(total / max(1.0, np.square(excess).sum() / (total * variance))))


def predictive_value(detected: Proportion, false_alarms: Proportion, prevalence: float) -> tuple[float, Bounds]:
    """The probability of a class at a prevalence, for a slide that is called so, and its 95% interval.

    PPV from sensitivity and 1 - specificity, NPV from specificity and 1 - sensitivity with 1 - prevalence. The interval is
    the logit interval of Mercaldo et al. (Stat. Med. 26, 2007), the adjusted one where either proportion is 0 or 1.
    """
    if not (detected.size > 0 and false_alarms.size > 0):
        return np.nan, (np.nan, np.nan)
    called = detected.value * prevalence + false_alarms.value * (1 - prevalence)
    if not called:
        return np.nan, (np.nan, np.nan)
    value = detected.value * prevalence / called
    if min(p.value * (1 - p.value) for p in (detected, false_alarms)) < ROUND_OFF:
        detected, false_alarms = _adjusted(detected), _adjusted(false_alarms)
    logit = np.log(detected.value * prevalence / (false_alarms.value * (1 - prevalence)))
    half = Z * np.sqrt(sum((1 - p.value) / (p.value * p.size) for p in (detected, false_alarms)))
    low, high = expit([logit - half, logit + half])
    return value, (min(float(low), value), max(float(high), value))


def _adjusted(p: Proportion) -> Proportion:
    return Proportion((p.value * p.size + Z**2 / 2) / (p.size + Z**2), p.size + Z**2)


def mean_interval(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Of values (n, ...) of slides: mean, lower and upper bound of the 95% interval, (3, ...).

    The mean ± Student's t x the error that is robust to clusters, a patient's slides. NaN with fewer than two patients.
    """
    mean, count = values.mean(axis=0), len(np.unique(patients))
    excess = _sum_by_patient(values - mean, patients) / len(values)
    if count < 2:
        return np.stack([mean, mean * np.nan, mean * np.nan])
    half = t.ppf((1 + LEVEL) / 2, count - 1) * np.sqrt(count / (count - 1) * np.square(excess).sum(axis=0))
    return np.stack([mean, mean - half, mean + half])


def _sum_by_patient(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """(n, ...) of slides to (I, ...) of patients."""
    names, numbers = np.unique(patients, return_inverse=True)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, numbers, values)
    return sums
