"""Decision curves: the net benefit of acting on a model's probabilities (Vickers and Elkin, Med. Decis. Making 26, 2006)."""

import numpy as np
import pandas as pd

from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.proportions import mean_interval
from roformermil.tasks.class_metrics import counted_classes

THRESHOLDS = np.arange(1, 100) / 100  # probabilities from which one would act
CURVE = ["net_benefit", "ci_low", "ci_high", "treat_all", "treat_all_low", "treat_all_high"]
DIFFERENCE = ["gain", "gain_low", "gain_high"]
COLUMNS = [*KEYS, "class", "threshold", *CURVE, *DIFFERENCE]


def net_benefits(truth: np.ndarray, called: np.ndarray) -> np.ndarray:
    """What each slide adds to the net benefit at each threshold, (n, T): their mean over slides is the net benefit.

    truth: (n,) bool; called: (n, T), whether one acts at this threshold. True positives count 1, false positives cost the odds
    of the threshold.
    """
    return np.where(truth[:, None], called, -called * THRESHOLDS / (1 - THRESHOLDS))


def decision_curves(models: list[OutOfFold]) -> pd.DataFrame:
    """Each model's net benefit at THRESHOLDS for each class against the rest, that of treating all, and what the model gains over
    the better of treating all and treating none, which is 0; with 95% intervals by patient: COLUMNS.

    Each slide counts once: as the mean over the trainings that test it.
    """
    tables = []
    for model in models:
        for c in counted_classes(model.predictions):
            called = (model.predictions[:, c, None] >= THRESHOLDS).astype(float)
            labels, patients, called = model.mean_by_slide(called)
            benefits, of_all = net_benefits(labels == c, called), net_benefits(labels == c, np.ones_like(called))
            gains = benefits - np.where(of_all.mean(axis=0) > 0, of_all, 0)  # the choice is made once, on these slides
            columns = np.concatenate([mean_interval(values, patients) for values in (benefits, of_all, gains)])
            table = pd.DataFrame(columns.T, columns=[*CURVE, *DIFFERENCE])
            keys = dict(zip([*KEYS, "class"], (*model.key, model.classes[c]), strict=True))
            tables.append(table.assign(**keys, threshold=THRESHOLDS))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)
