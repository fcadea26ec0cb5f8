"""Predictions as each fold's predictions.csv contains them, and as arrays over the test slides of all folds."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.evaluation.metrics import PROBABILITY_PREFIX, probability_columns

KEYS = ["dataset", "encoder", "model"]
IDS = (*KEYS, "slide_id", "patient_id")
TEXT_COLUMNS = (*IDS, "label", "part", "metric", "class", "predicted", "against", "test", "caution")


@dataclass(frozen=True)
class ModelKey:
    """A model that was trained on a data set's features from an encoder."""

    dataset: str
    encoder: str
    model: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dataset, self.encoder, self.model


@dataclass(frozen=True)
class FoldResult(ModelKey):
    """Where a fold's predictions are, and which model of which data set made them."""

    fold: int
    path: Path  # predictions.csv

    @classmethod
    def at(cls, path: Path) -> "FoldResult":
        """The result at `.../{dataset}/{encoder}/{model}/fold_{k}/predictions.csv`."""
        dataset, encoder, model, fold = path.parts[-5:-1]
        return cls(dataset, encoder, model, int(fold.removeprefix("fold_")), path)

    def read_metadata(self) -> dict[str, str]:
        """What the fold's model.safetensors tells of the model: best_epoch, parameters, ..."""
        from safetensors import safe_open  # which envs/evaluation.yaml has no need of

        with safe_open(self.path.with_name("model.safetensors"), "np") as file:
            return file.metadata()


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
    """A table of results. An id such as `007` or `NA` remains text; an empty cell is NaN."""
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=[""])


def read_predictions(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A fold's predictions.csv, and its classes in the order of their index."""
    table = read_table(path)
    columns = [name for name in table.columns if name.startswith(PROBABILITY_PREFIX)]
    return table, [name.removeprefix(PROBABILITY_PREFIX) for name in columns]


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
    tables, classes = zip(*(read_predictions(result.path) for result in results), strict=True)
    table = pd.concat([table.assign(fold=result.fold) for table, result in zip(tables, results, strict=True)])
    table = table[table.part == "test"]
    ids = table.slide_id.to_numpy(), table.patient_id.to_numpy(), table.fold.to_numpy()
    return OutOfFold(*results[0].key, classes[0], *ids, *labels_and_probabilities(table, classes[0]))
