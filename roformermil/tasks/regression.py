"""One number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from roformermil.errors import SheetError
from roformermil.tasks.base import Parameters, Task, Values

if TYPE_CHECKING:
    from torch import Tensor

ROUND_OFF = 1e-12  # a variance of less, of the largest square, is none
STRATA = 5  # fifths of the values
SMALLEST_STRATUM = 10  # labels, of which ten folds get one each


@dataclass(frozen=True)
class Regression(Task):
    """A number. A model's output is the number in standard deviations of the training labels from their mean."""

    mean: float = 0.0  # of the training labels
    std: float = 1.0

    name: ClassVar = "regression"
    metrics: ClassVar = {"r2": "R2", "pearson": "Pearson correlation", "mae": "mean absolute error"}
    headline: ClassVar = ("r2", "pearson", "mae")
    reported: ClassVar = ("r2", "pearson", "mae")
    compared: ClassVar = ("r2", "mae")
    transferred: ClassVar = ("r2", "mae")
    bounds: ClassVar = {"r2": (-np.inf, 1.0), "pearson": (-1.0, 1.0), "mae": (0.0, np.inf)}
    lower_is_better: ClassVar = frozenset({"mae"})
    chance: ClassVar = 0.0
    guess: ClassVar = "the mean of the test labels"
    reversed_ranking: ClassVar = ""
    aim: ClassVar = ("predicts the label", "predict the label")
    undefined: ClassVar = "No fold tests slides with different labels, so there is no R2."
    plateau: ClassVar = 0.05
    few: ClassVar = "R2 and the correlation vary widely"
    bounds_of_predictions: ClassVar = (-np.inf, np.inf)
    linear_model: ClassVar = "ridge regression"
    predicts: ClassVar = "a number"
    contribution_unit: ClassVar = "units of the label"
    contribution: ClassVar = "the prediction, in units of the label"
    plots: ClassVar = ("scatter",)

    @property
    def outputs(self) -> list[str]:
        return ["prediction"]

    @property
    def columns(self) -> list[str]:
        return ["prediction"]

    def check(self, label: str) -> None:
        try:
            known = np.isfinite(float(label))
        except ValueError:
            known = False
        if not known:
            raise SheetError(f"label {label!r}; expected a number, with a decimal point")

    def read_label(self, row: Mapping[str, str]) -> str:
        """The label in one spelling: spreadsheets write 1 as 1.0, and slides of a patient have one label."""
        label = super().read_label(row)
        return f"{float(label) + 0.0:.15g}" if label else ""  # + 0.0: no -0

    def strata(self, labels: Sequence[str]) -> list[str]:
        """Fifths of the values, or fewer and larger groups of few values. Equal values are in one."""
        values, count = self.targets(labels), min(STRATA, max(1, len(labels) // SMALLEST_STRATUM))
        limits = np.quantile(values, np.arange(1, count) / count, method="inverted_cdf")
        return [f"group {k + 1} of {count}" for k in np.searchsorted(limits, values, side="left")]

    def fit(self, labels: Sequence[str]) -> "Regression":
        values = self.targets(labels)
        return replace(self, mean=float(values.mean()), std=float(values.std()) if np.ptp(values) > 0 else 1.0)

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        return np.array([float(label or np.nan) for label in labels], dtype=np.float64)

    def labels(self, targets: np.ndarray) -> list[str]:
        return [f"{value:.15g}" if np.isfinite(value) else "" for value in targets]

    def groups(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        return {"with a label": np.isfinite(targets)}

    def describe(self, labels: Sequence[str], patients: Sequence[str]) -> str:
        values = self.targets(labels)
        return f"labels {values.min():g} to {values.max():g}, mean {values.mean():.3g}, standard deviation {values.std():.3g}"

    def guess_loss(self, targets: np.ndarray) -> float:
        return float(np.mean((targets - targets.mean()) ** 2) / self.std**2)

    def loss(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """Squared errors, in variances of the training labels."""
        return (logits[:, 0] - ((targets - self.mean) / self.std).to(logits.dtype)) ** 2

    def activation(self, logits: "Tensor") -> "Tensor":
        return logits * self.std + self.mean

    def fit_linear(
        self, features: np.ndarray, targets: np.ndarray, inverse: float, class_weights: np.ndarray | None = None
    ) -> Parameters:
        """Ridge regression."""
        from roformermil.tasks.linear import fit_ridge

        return fit_ridge(features, (targets - self.mean) / self.std, inverse)

    @property
    def scale(self) -> float:
        return self.std

    def map_contributions(self, contributions: np.ndarray) -> np.ndarray:
        """What each tile adds to the prediction, in units of the label."""
        return contributions

    def weighted_metrics(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Values:
        """R2 compares with the mean of the same bags; NaN, as Pearson's correlation, where these do not differ."""
        total = weights.sum(axis=1, keepdims=True)
        predicted = predictions[:, 0]
        share = np.divide(weights, total, out=np.full(weights.shape, np.nan), where=total > 0)  # of no bags: NaN
        y, p = (
            targets - targets.mean(),
            predicted - predicted.mean(),
        )  # moments of large numbers would lose their digits
        variance, spread = share @ y**2 - (share @ y) ** 2, share @ p**2 - (share @ p) ** 2
        covariance = share @ (y * p) - (share @ y) * (share @ p)
        known = variance > ROUND_OFF * np.square(y).max(initial=0)
        varies = known & (spread > ROUND_OFF * np.square(p).max(initial=0)) & (np.ptp(predicted) > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(known, 1 - share @ (targets - predicted) ** 2 / variance, np.nan)
            pearson = np.where(varies, covariance / np.sqrt(variance * spread), np.nan)
        return {"r2": r2, "pearson": pearson, "mae": share @ np.abs(targets - predicted)}
