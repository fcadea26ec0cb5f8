"""Predictions as each fold's predictions.csv contains them, and as arrays over the test slides of all folds."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.config import Unit
from roformermil.errors import ModelError
from roformermil.evaluation.fold_results import FoldResult, ModelKey
from roformermil.evaluation.metrics import probability_columns

KEYS = ["dataset", "encoder", "model"]
IDS = (*KEYS, "slide_id", "patient_id")
TEXT_COLUMNS = (*IDS, "label", "part", "metric", "class", "predicted", "against", "test", "caution", "axis", "name")
TEXT_COLUMNS += ("what", "measure", "device", "status")  # of the studies


@dataclass(frozen=True)
class OutOfFold(ModelKey):
    """One model's predictions for one data set's test slides: n over all folds and seeds, C classes.

    Where folds were trained with several seeds, a slide has one prediction for each: they are of the same fold, and no
    further slides.
    """

    classes: list[str]
    slides: np.ndarray  # (n,) slide ids
    patients: np.ndarray  # (n,) patient ids
    folds: np.ndarray  # (n,) int
    labels: np.ndarray  # (n,) class indices
    probabilities: np.ndarray  # (n, C)
    seeds: np.ndarray  # (n,) int, of the training
    shuffled: np.ndarray | None = None  # (R, n, C) the probabilities in R repeats with shuffled positions
    unit: Unit = "slide"  # what the n are: slides, or patients, whose ids are then in `slides` too

    @property
    def runs(self) -> list[tuple[int, int]]:
        """Fold and seed of each training."""
        return sorted(set(zip(self.folds.tolist(), self.seeds.tolist(), strict=True)))

    @property
    def tests(self) -> list[np.ndarray]:
        """Per training, in the order of `runs`, which predictions are its own: (n,) bool."""
        return [(self.folds == fold) & (self.seeds == seed) for fold, seed in self.runs]

    @property
    def fold_count(self) -> int:
        return len(np.unique(self.folds))

    @property
    def seed_count(self) -> int:
        return len(np.unique(self.seeds))

    @property
    def decisions(self) -> np.ndarray:
        """(n,) the index of each slide's most probable class."""
        return self.probabilities.argmax(axis=1)

    @property
    def repeated(self) -> int:
        """The number of slides that several folds test, as some published folds do. Several seeds of a fold count once."""
        tested = set(zip(self.slides.tolist(), self.folds.tolist(), strict=True))
        return sum(count > 1 for count in Counter(slide for slide, _ in tested).values())

    def patients_by_class(self) -> dict[str, int]:
        """The number of patients who have slides of each class."""
        return {name: len(set(self.patients[self.labels == index])) for index, name in enumerate(self.classes)}

    def select(self, rows: np.ndarray) -> "OutOfFold":
        """Only these of the n predictions, by index or mask."""
        names = ("slides", "patients", "folds", "labels", "probabilities", "seeds")
        shuffled = None if self.shuffled is None else self.shuffled[:, rows]
        return replace(self, **{name: getattr(self, name)[rows] for name in names}, shuffled=shuffled)

    def without_repeats(self) -> "OutOfFold":
        """Each slide as the first training of the first fold that tests it predicted it, for statistics that count slides."""
        order = np.lexsort((self.seeds, self.folds))
        return self.select(np.sort(order[np.unique(self.slides[order], return_index=True)[1]]))

    def with_positions_shuffled(self) -> "OutOfFold | None":
        """The predictions with shuffled positions, each repeat as a training of its own: means over them are means over
        repeats and seeds, then over folds. None for a model that uses no positions."""
        if self.shuffled is None:
            return None
        repeats, n = self.shuffled.shape[:2]
        rows, repeat = np.tile(np.arange(n), repeats), np.repeat(np.arange(repeats), n)
        shuffled = replace(self, shuffled=None).select(rows)
        return replace(
            shuffled, probabilities=np.concatenate(list(self.shuffled)), seeds=shuffled.seeds * repeats + repeat
        )


def read_table(path: Path) -> pd.DataFrame:
    """A table of results. Names and ids remain text, also `007`, `1e5`, `NA` and `true`; a number that is missing is NaN."""
    missing = {
        name: [""] if name in TEXT_COLUMNS else ["", "nan"] for name in pd.read_csv(path, nrows=0).columns.tolist()
    }
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=missing)


def labels_and_probabilities(table: pd.DataFrame, classes: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The class index (n,) and the probabilities (n, C) of each row of predictions."""
    return table.label.map(classes.index).to_numpy(int), table[probability_columns(classes)].to_numpy(float)


def bag_ids(table: pd.DataFrame) -> pd.Series:
    """What each row of predictions is of: its slide_id, or the patient_id where patients are the unit."""
    return table["slide_id"] if "slide_id" in table else table["patient_id"]


def out_of_fold(results: list[FoldResult], part: str = "test") -> list[OutOfFold]:
    """The predictions of each data set, encoder and model for the slides of a part, in the order of their first fold in
    `results`. Only for `test` with those of shuffled positions. Raises ModelError for a damaged shuffled.csv."""
    groups: dict[tuple[str, str, str], list[FoldResult]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    return [_join_runs(sorted(group, key=lambda one: (one.fold, one.trained_seed)), part) for group in groups.values()]


def _join_runs(results: list[FoldResult], part: str) -> OutOfFold:
    classes = results[0].classes
    tables = [read_table(one.path).assign(fold=one.fold, seed=one.trained_seed) for one in results]
    tables = [table[table.part == part] for table in tables]
    table = pd.concat(tables)
    labels, probabilities = labels_and_probabilities(table, classes)
    shuffled = [_read_shuffled(*pair, classes) for pair in zip(results, tables, strict=True)] if part == "test" else []
    complete = [one for one in shuffled if one is not None]
    return OutOfFold(
        *results[0].key,
        classes=classes,
        slides=bag_ids(table).to_numpy(),
        patients=table.patient_id.to_numpy(),
        folds=table.fold.to_numpy(),
        labels=labels,
        probabilities=probabilities,
        seeds=table.seed.to_numpy(),
        shuffled=np.concatenate(complete, axis=1) if complete and len(complete) == len(results) else None,
        unit=results[0].unit,
    )


def _read_shuffled(result: FoldResult, table: pd.DataFrame, classes: list[str]) -> np.ndarray | None:
    """The probabilities (R, n, C) of the n slides in `table` with shuffled positions; None where shuffled.csv has none."""
    if not result.shuffled_file.exists():
        return None
    rows = read_table(result.shuffled_file)
    try:
        repeats = [group.set_index(bag_ids(group)).loc[bag_ids(table)] for _, group in rows.groupby("repeat")]
        return np.stack([labels_and_probabilities(one, classes)[1] for one in repeats]) if repeats else None
    except (KeyError, ValueError, AttributeError) as error:
        raise ModelError(f"{result.shuffled_file.absolute()}: damaged ({error})") from error
