import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

from roformermil.evaluation.classes import class_table


def test_each_class_has_its_own_figures(simulated):
    """Against scikit-learn, a class against the rest, a mean over folds."""
    found = [simulated(np.random.default_rng(k), patients=90, classes=3, model=f"m{k}") for k in range(2)]
    table = class_table(found).set_index(["model", "class", "metric"])
    for one in found:
        decided = one.probabilities.argmax(axis=1)
        for c, name in enumerate(one.classes):
            folds = []
            for fold in range(5):
                here = one.folds == fold
                truth, said, p = one.labels[here] == c, decided[here] == c, one.probabilities[here, c]
                folds.append(
                    {"auroc": roc_auc_score(truth, p), "average_precision": average_precision_score(truth, p),
                     "recall": recall_score(truth, said), "precision": precision_score(truth, said), "f1": f1_score(truth, said)}
                )  # fmt: skip
            for metric in folds[0]:
                row = table.loc[(one.model, name, metric)]
                assert row["mean"] == pytest.approx(np.mean([fold[metric] for fold in folds])), (name, metric)
                assert row.ci_low < row["mean"] < row.ci_high
                assert row.slides == (one.labels == c).sum()
