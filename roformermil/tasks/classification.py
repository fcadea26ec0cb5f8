"""One of several classes, as in the paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from roformermil.errors import SheetError
from roformermil.runtime.spelling import comparable
from roformermil.tasks.base import Task, Values

if TYPE_CHECKING:
    from torch import Tensor

UNLABELLED = -1  # the target of a bag without a label
PROBABILITY_PREFIX = "probability_"  # followed by the class's name


@dataclass(frozen=True)
class Classification(Task):
    """The class of a bag. Targets are class indices, outputs logits, predictions probabilities; with two classes, the second is
    the positive one."""

    classes: tuple[str, ...] = ()

    name: ClassVar = "classification"
    metrics: ClassVar = {
        "auroc": "AUROC",
        "average_precision": "average precision",
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "f1": "F1",
    }
    compared: ClassVar = ("auroc", "average_precision")
    chance: ClassVar = 0.5
    plots: ClassVar = ("curves", "calibration", "confusion")

    @property
    def outputs(self) -> list[str]:
        return list(self.classes)

    @property
    def columns(self) -> list[str]:
        return [f"{PROBABILITY_PREFIX}{name}" for name in self.classes]

    def check(self, label: str) -> None:
        if not self.classes or label in self.classes:
            return
        known = {comparable(name): name for name in self.classes}
        close = get_close_matches(comparable(label), known, n=1)
        hint = f"; did you mean {known[close[0]]!r}?" if close else ""
        raise SheetError(f"label {label!r}; expected one of {', '.join(self.classes)}{hint}")

    def strata(self, labels: Sequence[str]) -> list[str]:
        return list(labels)

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        indices = {"": UNLABELLED} | {name: index for index, name in enumerate(self.classes)}
        if unknown := set(labels) - set(indices):
            raise ValueError(f"label {min(unknown)!r} is not one of {', '.join(self.classes)}")
        return np.array([indices[label] for label in labels], dtype=np.int64)

    def are_known(self, targets: np.ndarray) -> np.ndarray:
        return targets != UNLABELLED

    def loss(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, targets, reduction="none")

    def activation(self, logits: "Tensor") -> "Tensor":
        return logits.softmax(dim=-1)

    def compute_metrics(self, targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        from roformermil.tasks.class_metrics import compute_metrics

        return compute_metrics(targets, predictions)

    def weighted_metrics(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Values:
        from roformermil.tasks.class_metrics import weighted_metrics

        return weighted_metrics(targets, predictions, weights)
