"""Whether probabilities are right: reliability curve, expected calibration error, confusion matrix."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from roformermil.evaluation.predictions import KEYS, OutOfFold

BINS = 10
# of each class, as recommended for external validation: Vergouwe et al., J. Clin. Epidemiol. 58:475, 2005 (100 events and 100
# others); Collins et al., Stat. Med. 35:214, 2016 (at least 100 events, ideally 200). Here patients, out of fold, are counted.
ENOUGH_PATIENTS = 100


def calibration_caution(patients: Mapping[str, int]) -> str:
    """Why a data set's calibration cannot be judged; "" where it can. patients: the number of each class."""
    fewest = min(patients, key=lambda name: patients[name])
    if patients[fewest] >= ENOUGH_PATIENTS:
        return ""
    need = f"that takes at least {ENOUGH_PATIENTS} patients of each class (Vergouwe et al. 2005, Collins et al. 2016)"
    return f"Calibration cannot be judged from so few patients: {need}, and there are {patients[fewest]} of class {fewest}."


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The reliability curve in BINS of equal width: `low, high, slides, probability, observed`, without empty bins.

    probability: the bin's mean, of the second of two classes, or of the most probable of more; observed: the fraction of
    the bin's slides that are of this class.
    """
    if probabilities.shape[1] == 2:
        stated, true = probabilities[:, 1], labels == 1
    else:
        stated, true = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], stated)  # an edge belongs to the bin below it
    members = [(k, bins == k) for k in np.unique(bins)]
    rows = [(k / BINS, (k + 1) / BINS, int(m.sum()), stated[m].mean(), true[m].mean()) for k, m in members]
    return pd.DataFrame(rows, columns=["low", "high", "slides", "probability", "observed"])


def calibration_error(curve: pd.DataFrame) -> float:
    """Expected calibration error: |probability - observed| averaged over slides (Guo 2017, arXiv 1706.04599, equation 3)."""
    return float(np.average((curve.probability - curve.observed).abs(), weights=curve.slides))


def calibration_table(models: list[OutOfFold], scaled: Sequence[OutOfFold] = ()) -> pd.DataFrame:
    """Every model's reliability curve over all out-of-fold slides, with its calibration error in each row as `ece`; as `predicted`
    and, of the same models with their probabilities at a temperature, `scaled`."""
    curves = []
    for probabilities, group in (("predicted", models), ("scaled", scaled)):
        for model in map(OutOfFold.without_repeats, group):
            curve = reliability(model.targets, model.predictions)
            names = dict(zip([*KEYS, "probabilities"], (*model.key, probabilities), strict=True))
            curves.append(curve.assign(**names, ece=calibration_error(curve)))
    columns = [*KEYS, "probabilities", "ece", "low", "high", "slides", "probability", "observed"]
    return pd.concat(curves)[columns] if curves else pd.DataFrame(columns=columns)


def confusion(models: list[OutOfFold]) -> pd.DataFrame:
    """Out-of-fold slides by label and most probable class: `label, predicted, slides`; every pair of classes has a row."""
    rows = []
    for model in map(OutOfFold.without_repeats, models):
        counts = np.zeros((len(model.classes), len(model.classes)), int)
        np.add.at(counts, (model.targets, model.decisions), 1)
        pairs = product(model.classes, repeat=2)
        rows += [(*model.key, *pair, count) for pair, count in zip(pairs, counts.flat, strict=True)]
    return pd.DataFrame(rows, columns=[*KEYS, "label", "predicted", "slides"])
