"""Figures class by class, each against the rest."""

import numpy as np
import pandas as pd

from roformermil.evaluation.bootstrap import intervals, mean_over_folds
from roformermil.evaluation.predictions import KEYS, OutOfFold
from roformermil.evaluation.weighted import CLASS_METRICS, class_scores


def class_table(found: list[OutOfFold]) -> pd.DataFrame:
    """Mean over folds and 95% bootstrap interval of each class's CLASS_METRICS, and its slides."""
    rows = []
    for one in found:
        means = mean_over_folds(one, np.ones((1, len(one.labels))), class_scores)
        bounds = intervals(one, class_scores)
        for metric in CLASS_METRICS:
            low, high = bounds[metric]
            rows += [
                (*one.key, name, int((one.labels == c).sum()), metric, means[metric][0, c], low[c], high[c])
                for c, name in enumerate(one.classes)
            ]
    return pd.DataFrame(rows, columns=[*KEYS, "class", "slides", "metric", "mean", "ci_low", "ci_high"])
