"""Predictions as each fold's predictions.csv contains them, and as arrays over the test slides of all folds."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.evaluation.fold_results import FoldResult, ModelKey
from roformermil.evaluation.metrics import probability_columns

KEYS = ["dataset", "encoder", "model"]
IDS = (*KEYS, "slide_id", "patient_id")
TEXT_COLUMNS = (*IDS, "label", "part", "metric", "class", "predicted", "against", "test", "caution", "axis", "name")
TEXT_COLUMNS += ("what", "measure", "device", "status")  # of the studies


@dataclass(frozen=True)
class OutOfFold(ModelKey):
    """One model's predictions for one data set's test slides: n slides over all folds, C classes."""

    classes: list[str]
    slides: np.ndarray  # (n,) slide ids
    patients: np.ndarray  # (n,) patient ids
    folds: np.ndarray  # (n,) int
    labels: np.ndarray  # (n,) class indices
    probabilities: np.ndarray  # (n, C)

    @property
    def tests(self) -> list[np.ndarray]:
        """Per fold, which slides it tests: (n,) bool."""
        return [self.folds == fold for fold in np.unique(self.folds)]

    @property
    def decisions(self) -> np.ndarray:
        """(n,) the index of each slide's most probable class."""
        return self.probabilities.argmax(axis=1)

    @property
    def repeated(self) -> int:
        """The number of slides that several folds test, as some published folds do."""
        return int((np.unique(self.slides, return_counts=True)[1] > 1).sum())

    def select(self, rows: np.ndarray) -> "OutOfFold":
        """Only these of the n predictions, by index or mask."""
        names = ("slides", "patients", "folds", "labels", "probabilities")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def without_repeats(self) -> "OutOfFold":
        """Each slide as the first fold that tests it predicted it, for statistics that count slides."""
        return self.select(np.sort(np.unique(self.slides, return_index=True)[1]))


def read_table(path: Path) -> pd.DataFrame:
    """A table of results. Names and ids remain text, also `007`, `1e5`, `NA` and `true`; a number that is missing is NaN."""
    missing = {
        name: [""] if name in TEXT_COLUMNS else ["", "nan"] for name in pd.read_csv(path, nrows=0).columns.tolist()
    }
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=missing)


def labels_and_probabilities(table: pd.DataFrame, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The class index (n,) and the probabilities (n, C) of each row of predictions."""
    return table.label.map(classes.index).to_numpy(int), table[probability_columns(classes)].to_numpy(float)


def out_of_fold(results: list[FoldResult]) -> list[OutOfFold]:
    """The test predictions of each data set, encoder and model, in the order of their first fold in `results`."""
    groups: dict[tuple[str, str, str], list[FoldResult]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    return [_join_folds(sorted(group, key=lambda result: result.fold)) for group in groups.values()]


def _join_folds(results: list[FoldResult]) -> OutOfFold:
    table = pd.concat([read_table(result.path).assign(fold=result.fold) for result in results])
    table, classes = table[table.part == "test"], results[0].classes
    ids = table.slide_id.to_numpy(), table.patient_id.to_numpy(), table.fold.to_numpy()
    return OutOfFold(*results[0].key, classes, *ids, *labels_and_probabilities(table, classes))
