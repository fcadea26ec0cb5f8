"""Predictions as each fold's predictions.csv contains them, and as arrays over the test slides of all folds."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from roformermil.config import Unit
from roformermil.errors import ModelError
from roformermil.evaluation.fold_results import FoldResult, ModelKey
from roformermil.tasks import Task

KEYS = ["dataset", "encoder", "model"]
IDS = (*KEYS, "slide_id", "patient_id")
TEXT_COLUMNS = (
    *IDS,
    "label",
    "part",
    "metric",
    "class",
    "predicted",
    "against",
    "test",
    "caution",
    "axis",
    "name",
    "trained_on",
)
TEXT_COLUMNS += ("operating_point", "probabilities", "decision")
TEXT_COLUMNS += ("what", "measure", "device", "status")  # of the studies


@dataclass(frozen=True)
class OutOfFold(ModelKey):
    """One model's predictions for one data set's test slides: n over all folds and seeds, of P numbers each.

    Where folds were trained with several seeds, a slide has one prediction for each: they are of the same fold, and no
    further slides.
    """

    task: Task
    slides: np.ndarray  # (n,) slide ids
    patients: np.ndarray  # (n,) patient ids
    folds: np.ndarray  # (n,) int
    targets: np.ndarray  # (n,) or (n, k), as of `Task.targets`, also of external slides without a label
    predictions: np.ndarray  # (n, P): with classes, the probability of each
    seeds: np.ndarray  # (n,) int, of the training
    shuffled: np.ndarray | None = None  # (R, n, P) the predictions in R repeats with shuffled positions
    folds_per_repeat: int | None = (
        None  # where the whole cross-validation was repeated, which tests a slide once per repeat
    )
    trained_on: str = ""  # of an external data set: the one that the models were trained on
    unit: Unit = "slide"  # what the n are: slides, or patients, whose ids are then in `slides` too

    @property
    def classes(self) -> list[str]:
        """The classes in the order of their index; none where the task predicts no class."""
        return list(self.task.classes)

    @property
    def are_labelled(self) -> np.ndarray:
        """(n,) bool"""
        return self.task.are_known(self.targets)

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
    def repeats(self) -> np.ndarray:
        """(n,) int, of the cross-validation."""
        return self.folds // self.folds_per_repeat if self.folds_per_repeat else np.zeros_like(self.folds)

    @property
    def repeat_count(self) -> int:
        return len(np.unique(self.repeats))

    @property
    def seed_count(self) -> int:
        return len(np.unique(self.seeds))

    @property
    def decisions(self) -> np.ndarray:
        """(n,) the index of each slide's most probable class."""
        return self.predictions.argmax(axis=1)

    @property
    def repeated(self) -> int:
        """The number of slides that several folds of one cross-validation test, as some published folds do. Several seeds of a fold
        count once."""
        tested = set(zip(self.slides.tolist(), self.repeats.tolist(), self.folds.tolist(), strict=True))
        counts = Counter((slide, repeat) for slide, repeat, _ in tested)
        return len({slide for (slide, _), count in counts.items() if count > 1})

    def patients_by_class(self) -> dict[str, int]:
        """The number of patients who have slides of each class."""
        return {name: len(set(self.patients[self.targets == index])) for index, name in enumerate(self.classes)}

    def select(self, rows: np.ndarray) -> "OutOfFold":
        """Only these of the n predictions, by index or mask."""
        names = ("slides", "patients", "folds", "targets", "predictions", "seeds")
        shuffled = None if self.shuffled is None else self.shuffled[:, rows]
        return replace(self, **{name: getattr(self, name)[rows] for name in names}, shuffled=shuffled)

    def average_folds(self) -> "OutOfFold":
        """The mean prediction of the models of all folds for each slide, per seed: that of a packaged ensemble, as one fold.
        Of a repeated cross-validation only the models of the first repeat, as in a package.

        For an external data set, whose slides every model predicts.
        """
        members = self.as_one_fold()
        pairs = pd.DataFrame({"seed": members.seeds, "slide": members.slides})
        group = pairs.groupby(["seed", "slide"], sort=False).ngroup().to_numpy()
        first = np.unique(group, return_index=True)[1]

        def averaged(predictions: np.ndarray) -> np.ndarray:
            sums = np.zeros((len(first), predictions.shape[1]))
            np.add.at(sums, group, predictions)
            return sums / np.bincount(group)[:, None]

        shuffled = None if members.shuffled is None else np.stack([averaged(one) for one in members.shuffled])
        one = replace(members, shuffled=None).select(first)
        return replace(one, predictions=averaged(members.predictions), shuffled=shuffled)

    def as_one_fold(self) -> "OutOfFold":
        """The predictions of an ensemble's members as those of one fold: of a repeated cross-validation, of the first repeat."""
        first = self.select(self.repeats == 0)
        return replace(first, folds=np.zeros_like(first.folds), folds_per_repeat=None)

    def without_repeats(self) -> "OutOfFold":
        """Each slide as the first training of the first fold that tests it predicted it, for statistics that count slides: of a
        repeated cross-validation, the first repeat."""
        order = np.lexsort((self.seeds, self.folds))
        return self.select(np.sort(order[np.unique(self.slides[order], return_index=True)[1]]))

    def mean_by_slide(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the s slides that have a value: targets (s, ...), patients (s,) and values (s, ...), means over the trainings that test
        the slide, for statistics to which each slide contributes once. values: (n, ...); NaN where a training has none."""
        known = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        _, first, numbers, counts = np.unique(
            self.slides[known], return_index=True, return_inverse=True, return_counts=True
        )
        sums = np.zeros((len(first), *values.shape[1:]))
        np.add.at(sums, numbers, values[known])
        means = sums / counts.reshape(-1, *[1] * (values.ndim - 1))
        return self.targets[known][first], self.patients[known][first], means

    def with_positions_shuffled(self) -> "OutOfFold | None":
        """The predictions with shuffled positions, each repeat as a training of its own: means over them are means over
        repeats and seeds, then over folds. None for a model that uses no positions."""
        if self.shuffled is None:
            return None
        repeats, n = self.shuffled.shape[:2]
        rows, repeat = np.tile(np.arange(n), repeats), np.repeat(np.arange(repeats), n)
        shuffled = replace(self, shuffled=None).select(rows)
        return replace(
            shuffled, predictions=np.concatenate(list(self.shuffled)), seeds=shuffled.seeds * repeats + repeat
        )


def read_table(path: Path) -> pd.DataFrame:
    """A table of results. Names and ids remain text, also `007`, `1e5`, `NA` and `true`; a number that is missing is NaN."""
    missing = {
        name: [""] if name in TEXT_COLUMNS else ["", "nan"] for name in pd.read_csv(path, nrows=0).columns.tolist()
    }
    return pd.read_csv(path, dtype=dict.fromkeys(TEXT_COLUMNS, str), keep_default_na=False, na_values=missing)


def targets_and_predictions(table: pd.DataFrame, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The targets, (n,) or (n, k), and the predictions (n, P) of the rows of a predictions.csv. Raises ValueError for a label that is
    none of the task, and KeyError for a column that is missing."""
    return task.targets(table.label.fillna("").tolist()), table[task.columns].to_numpy(float)


def bag_ids(table: pd.DataFrame) -> pd.Series:
    """What each row of predictions is of: its slide_id, or the patient_id where patients are the unit."""
    return table["slide_id"] if "slide_id" in table else table["patient_id"]


def out_of_fold(results: list[FoldResult], part: str = "test", labelled: bool = True) -> list[OutOfFold]:
    """The predictions of each data set, encoder and model for the slides of a part, in the order of their first fold in
    `results`. Only for `test` with those of shuffled positions. Those of an external data set are the ensemble's, whose members
    are the models of all folds, or of the first repeat's.

    labelled: only of slides with a label; external data sets without any are then left out. Raises ModelError for a damaged
    shuffled.csv.
    """
    return of_ensembles(join_folds(results, part, labelled))


def of_ensembles(models: Sequence[OutOfFold]) -> list[OutOfFold]:
    """The same predictions, but of external data sets those of the ensemble instead of those of each fold's model."""
    return [one.average_folds() if one.trained_on else one for one in models]


def join_folds(results: list[FoldResult], part: str = "test", labelled: bool = False) -> list[OutOfFold]:
    """As `out_of_fold`, but of an external data set the predictions of each fold's model. The training and validation slides of
    an external data set are those of the one that its models were trained on."""
    groups: dict[tuple[str, str, str], list[FoldResult]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    models = [
        _join_runs(sorted(group, key=lambda one: (one.fold, one.trained_seed)), part) for group in groups.values()
    ]
    if not labelled:
        return models
    return [one.select(one.are_labelled) for one in models if one.are_labelled.any()]


def matching(models: Sequence[OutOfFold], others: Sequence[OutOfFold]) -> list[OutOfFold]:
    """Of `others`, those of the data sets, encoders and models of `models`, in their order."""
    by_key = {one.key: one for one in others}
    return [by_key[one.key] for one in models]


def _join_runs(results: list[FoldResult], part: str) -> OutOfFold:
    task = results[0].task
    trainings, is_external = [one.training_result for one in results], results[0].is_external
    trained = _read_tables(trainings) if all(one.path.exists() for one in trainings) else []
    folds_per_repeat = _folds_per_repeat(pd.concat([one[one.part == "test"] for one in trained])) if trained else None
    tables = _read_tables(results) if part == "test" and is_external else trained
    if not tables:
        missing = next(one.path for one in trainings if not one.path.exists())
        raise ModelError(
            f"{missing}: no such predictions: external results need those of the data set trained on beside them"
        )
    tables = [table[table.part == part] for table in tables]
    table = pd.concat(tables)
    targets, predictions = targets_and_predictions(table, task)
    shuffled = [_read_shuffled(*pair, task) for pair in zip(results, tables, strict=True)] if part == "test" else []
    complete = [one for one in shuffled if one is not None]
    return OutOfFold(
        *results[0].key,
        task=task,
        slides=bag_ids(table).to_numpy(),
        patients=table.patient_id.to_numpy(),
        folds=table.fold.to_numpy(),
        targets=targets,
        predictions=predictions,
        seeds=table.seed.to_numpy(),
        shuffled=np.concatenate(complete, axis=1) if complete and len(complete) == len(results) else None,
        folds_per_repeat=folds_per_repeat,
        trained_on=results[0].trained_on if is_external else "",
        unit=results[0].unit,
    )


def _read_tables(results: list[FoldResult]) -> list[pd.DataFrame]:
    return [read_table(one.path).assign(fold=one.fold, seed=one.trained_seed) for one in results]


def _folds_per_repeat(tested: pd.DataFrame) -> int | None:
    """How many consecutive folds test each slide once, where the folds are several such cross-validations; else None.

    tested: all predictions of test slides or patients, with their `fold`.
    """
    pairs = pd.DataFrame({"bag": bag_ids(tested), "fold": tested.fold}).drop_duplicates()
    slides, folds = pairs.bag.nunique(), pairs.fold.nunique()
    repeats = len(pairs) // max(1, slides)
    if repeats < 2 or len(pairs) % slides or folds % repeats or set(pairs.fold) != set(range(folds)):
        return None
    count = folds // repeats
    is_complete = not pairs.assign(fold=pairs.fold // count).duplicated().any()
    return count if is_complete else None


def _read_shuffled(result: FoldResult, table: pd.DataFrame, task: Task) -> np.ndarray | None:
    """The predictions (R, n, P) of the n slides in `table` with shuffled positions; None where shuffled.csv has none."""
    if not result.shuffled_file.exists():
        return None
    rows = read_table(result.shuffled_file)
    try:
        repeats = [group.set_index(bag_ids(group)).loc[bag_ids(table)] for _, group in rows.groupby("repeat")]
        return np.stack([targets_and_predictions(one, task)[1] for one in repeats]) if repeats else None
    except (KeyError, ValueError, AttributeError) as error:
        raise ModelError(f"{result.shuffled_file.absolute()}: damaged ({error})") from error
