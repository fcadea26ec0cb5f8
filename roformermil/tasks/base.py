"""What every task defines, and all that the other rooms need to know of it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Values = dict[str, np.ndarray]
Parameters = tuple[np.ndarray, np.ndarray]  # weights (M, F) and biases (M,) of M outputs


@dataclass(frozen=True)
class Task(ABC):
    """What a run's models predict, and how that is judged.

    A bag has a *label*, text as in folds.csv and predictions.csv; the same as numbers is its *target*. A model has M outputs per
    bag; the task makes of them P *predictions*, the columns of predictions.csv, of which `metrics` are computed.
    """

    name: ClassVar[str]  # in the configuration
    sheet_columns: ClassVar[tuple[str, ...]] = ("label",)  # of the slide sheet, which give a slide's label
    metrics: ClassVar[Mapping[str, str]]  # of metrics.csv and their titles, the main one first
    headline: ClassVar[tuple[str, ...]]  # the metrics of summary.md, the main one first
    reported: ClassVar[tuple[str, ...]]  # the metrics of the report's table, the main one first
    compared: ClassVar[tuple[str, ...]]  # the metrics by which models are compared
    transferred: ClassVar[tuple[str, ...]]  # the metrics whose drop on external slides is told in words
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}  # between which a metric lies, where not 0 and 1
    lower_is_better: ClassVar[frozenset[str]] = frozenset()  # of these metrics
    depend_on_frequencies: ClassVar[frozenset[str]] = frozenset()  # of the classes, these metrics do
    bounds_of_predictions: ClassVar[tuple[float, float]] = (0.0, 1.0)
    chance: ClassVar[float]  # the main metric of predictions that know nothing
    guess: ClassVar[str] = "chance"  # what these predictions are called
    reversed_ranking: ClassVar[str] = ": its ranking is reversed"  # what a main metric below that means
    aim: ClassVar[tuple[str, str]]  # what one model does that is better, and what several do
    undefined: ClassVar[str]  # why there may be no main metric
    plateau: ClassVar[float]  # a model that learned anything exceeds this main metric on its training slides
    few: ClassVar[str] = ""  # what few test patients of one of the `groups` do to the metrics
    linear_model: ClassVar[str]  # what `mean-linear` is
    predicts: ClassVar[str]  # in words
    decided: ClassVar[tuple[str, ...]] = ()  # columns of `predict` before the predictions
    contribution: ClassVar[str]  # what a tile adds to in a heat map
    contribution_unit: ClassVar[str] = "log-odds"
    odds_of: ClassVar[str] = ""  # of what contributions are log-odds, where that is no class
    plots: ClassVar[tuple[str, ...]]  # of a data set, besides training curves
    page_plots: ClassVar[tuple[str, ...]] = ()  # of a data set, drawn with the report from tables
    tables: ClassVar[tuple[str, ...]] = ()  # that only this task has

    @property
    def main(self) -> str:
        """The metric that sentences are about."""
        return next(iter(self.metrics))

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order of their index, of a classification alone."""
        return ()

    def lacks(self, labels: Sequence[str] = ()) -> str:
        """What the configuration lacks to train on slides of these labels, and what to write; "" for nothing."""
        return ""

    @property
    def label_help(self) -> str:
        """Where a slide's label is written, for a sheet without labels."""
        return f"fill in column {' and '.join(self.sheet_columns)} of the slide sheet"

    @property
    @abstractmethod
    def outputs(self) -> list[str]:
        """What each of a model's M outputs stands for."""

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The P columns of predictions.csv."""

    @abstractmethod
    def check(self, label: str) -> None:
        """Raises SheetError, which says what is expected, for a label that is none of this task."""

    def read_label(self, row: Mapping[str, str]) -> str:
        """The label in a row of the slide sheet, by column; "" for none. Raises SheetError."""
        label = row.get("label", "")
        if label:
            self.check(label)
        return label

    def write_label(self, label: str) -> dict[str, str]:
        """The cells of `sheet_columns` with this label: the inverse of `read_label`."""
        return {"label": label}

    @abstractmethod
    def strata(self, labels: Sequence[str]) -> list[str]:
        """The group of each label, of which every part of a fold gets its share."""

    @property
    def needed_strata(self) -> tuple[str, ...]:
        """The strata without which a part of a fold is of no use."""
        return ()

    def name_strata(self, strata: Sequence[str]) -> str:
        """Strata in words."""
        return ", ".join(strata)

    def fit(self, labels: Sequence[str]) -> "Task":
        """The task with what it takes from the training labels of a fold."""
        return self

    @abstractmethod
    def targets(self, labels: Sequence[str]) -> np.ndarray:
        """The targets (n,) or (n, k) of n labels, of which "" is none. Raises ValueError for another text that is no label."""

    def are_known(self, targets: np.ndarray) -> np.ndarray:
        """Which of n bags have a label, (n,) bool."""
        return np.isfinite(targets).reshape(len(targets), -1).all(axis=1)

    @abstractmethod
    def labels(self, targets: np.ndarray) -> list[str]:
        """The labels of n targets: the inverse of `targets`."""

    def groups(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        """Which of n bags are in each group that metrics need several patients of, (n,) bool by name: `of class x`."""
        return {}

    @abstractmethod
    def describe(self, labels: Sequence[str], patients: Sequence[str]) -> str:
        """What n labels are, of which none is "", and how many patients have them: a cell of the report."""

    def guess_loss(self, targets: np.ndarray) -> float:
        """The loss, mean over n bags with these targets, of a model that predicts the same for all."""
        return float("nan")

    @abstractmethod
    def loss(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """The loss of each bag, (B,). logits: (B, M); targets: those of the B bags."""

    def mean_loss(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """The mean of `loss` over bags."""
        return self.loss(logits, targets).mean()

    @abstractmethod
    def activation(self, logits: "Tensor") -> "Tensor":
        """The predictions (..., P) of a model's outputs (..., M)."""

    @abstractmethod
    def fit_linear(
        self, features: np.ndarray, targets: np.ndarray, inverse: float, class_weights: np.ndarray | None = None
    ) -> Parameters:
        """Weights (M, F) and biases (M,) of the linear model of mean features (n, F) that `mean-linear` is. inverse: C, the inverse
        of the strength of regularization; class_weights: (C,), of a classification."""

    @property
    def mapped(self) -> tuple[str, ...]:
        """What a tile contributes to: one heat map each, of which a slide shows that of `shown`."""
        return tuple(self.columns[:1])

    def shown(self, predictions: np.ndarray) -> int:
        """Which of `mapped` the heat maps of a bag show. predictions: (P,)."""
        return 0

    def explain_columns(self) -> str:
        """What the columns of predictions are, for a model card; "" where their names say it."""
        return ""

    def gallery(self, targets: np.ndarray, predictions: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
        """Of n bags, the group under which the report shows heat maps, what the prediction was, and which come first there, those of
        the highest value (n,)."""
        order = predictions[:, 0].argsort().argsort()
        high = order >= len(order) / 2
        groups = [f"{'high' if one else 'low'} {self.columns[0]}" for one in high]
        outcomes = ["labelled" if one else "unlabelled" for one in self.are_known(targets)]
        return groups, outcomes, np.where(high, order, -order)

    def describe_prediction(self, predictions: np.ndarray, label: str = "") -> str:
        """A bag's predictions in words, and its label where it is known. predictions: (P,)."""
        name = self.columns[0]
        return f"{name} {predictions[0]:.3g}" + (f", labelled {label}" if label else "")

    @property
    def scale(self) -> float:
        """How far a prediction moves where an output moves by 1; 1 where outputs are logits."""
        return 1.0

    @abstractmethod
    def map_contributions(self, contributions: np.ndarray) -> np.ndarray:
        """What each of n tiles adds to each of `mapped`, (n, K). contributions: to the M outputs, times `scale`, (n, M)."""

    def map_attention(self, attention: np.ndarray) -> np.ndarray:
        """The attention to each of n tiles for each of `mapped`, (n, K). attention: of the M outputs, (n, M)."""
        return attention.mean(axis=1, keepdims=True)

    def compute_metrics(self, targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        """All `metrics` of n bags; NaN where they are too few for one. predictions: (n, P)."""
        if not len(targets):
            return dict.fromkeys(self.metrics, np.nan)
        values = self.weighted_metrics(targets, predictions, np.ones((1, len(targets))))
        return {name: float(value[0]) for name, value in values.items()}

    @abstractmethod
    def weighted_metrics(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Values:
        """`metrics` by name, (R,) each, of n bags that count as often as each row of weights (R, n) says."""

    def bounds_of(self, metric: str) -> tuple[float, float]:
        """The lowest and the highest value that a metric can have."""
        return self.bounds.get(metric, (0.0, 1.0))

    def validation_metrics(self, targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        """What an epoch tells of the validation bags besides their loss; the names are those of `training.monitor`."""
        return self.compute_metrics(targets, predictions)

    def difference_bounds(self, metric: str) -> tuple[float, float]:
        """Between what two values of a metric can differ."""
        low, high = self.bounds_of(metric)
        return low - high, high - low

    def to_json(self) -> str:
        """The task as text, for a model's metadata."""
        return json.dumps({"task": self.name} | asdict(self))
