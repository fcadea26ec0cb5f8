"""Out-of-fold predictions: every fold's test slides, as arrays."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.evaluation.metrics import PROBABILITY_PREFIX

TEXT = {"slide_id": str, "patient_id": str, "label": str, "part": str}
KEYS = ["dataset", "encoder", "model"]


@dataclass(frozen=True)
class FoldResult:
    """Where a fold's predictions are and what they are of."""

    dataset: str
    encoder: str
    model: str
    fold: int
    path: Path  # predictions.csv

    @classmethod
    def at(cls, path: Path) -> "FoldResult":
        """From the file's place, `.../{dataset}/{encoder}/{model}/fold_{k}/predictions.csv`."""
        dataset, encoder, model, fold = path.parts[-5:-1]
        return cls(dataset, encoder, model, int(fold.removeprefix("fold_")), path)


@dataclass(frozen=True)
class OutOfFold:
    """One model's predictions of one data set's test slides; n slides over all folds, C classes."""

    dataset: str
    encoder: str
    model: str
    classes: list[str]
    slides: np.ndarray  # (n,) slide ids
    patients: np.ndarray  # (n,) patient ids
    folds: np.ndarray  # (n,) int
    labels: np.ndarray  # (n,) class indices
    probabilities: np.ndarray  # (n, C)

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dataset, self.encoder, self.model

    @property
    def repeated(self) -> int:
        """How many slides several folds test, as some published folds do."""
        return int((np.unique(self.slides, return_counts=True)[1] > 1).sum())

    def once(self) -> "OutOfFold":
        """Each slide as the first fold that tests it predicted it, for figures that count slides."""
        first = np.sort(np.unique(self.slides, return_index=True)[1])
        names = ("slides", "patients", "folds", "labels", "probabilities")
        return replace(self, **{name: getattr(self, name)[first] for name in names})


def read_predictions(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A fold's predictions.csv and its classes in the order of their index."""
    table = pd.read_csv(path, dtype=TEXT, keep_default_na=False)
    return table, [
        str(name).removeprefix(PROBABILITY_PREFIX) for name in table.columns if str(name).startswith(PROBABILITY_PREFIX)
    ]


def out_of_fold(results: list[FoldResult]) -> list[OutOfFold]:
    """The test predictions of each data set, encoder and model, in the order in which they first come."""
    groups: dict[tuple[str, str, str], list[tuple[int, pd.DataFrame, list[str]]]] = {}
    for result in results:
        table, classes = read_predictions(result.path)
        key = (result.dataset, result.encoder, result.model)
        groups.setdefault(key, []).append((result.fold, table[table.part == "test"], classes))
    found = []
    for key, parts in groups.items():
        classes = parts[0][2]
        table = pd.concat([part.assign(fold=fold) for fold, part, _ in sorted(parts, key=lambda part: part[0])])
        found.append(
            OutOfFold(
                *key,
                classes,
                table.slide_id.to_numpy(),
                table.patient_id.to_numpy(),
                table.fold.to_numpy(),
                table.label.map(classes.index).to_numpy(int),
                table[[f"{PROBABILITY_PREFIX}{name}" for name in classes]].to_numpy(float),
            )
        )
    return found
