"""One of several classes, as in the paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import yaml

from roformermil.errors import SheetError
from roformermil.runtime.spelling import comparable
from roformermil.tasks.base import Parameters, Task, Values

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
    headline: ClassVar = ("auroc", "balanced_accuracy")
    reported: ClassVar = ("auroc", "balanced_accuracy", "average_precision")
    compared: ClassVar = ("auroc", "average_precision")
    transferred: ClassVar = ("auroc",)
    depend_on_frequencies: ClassVar = frozenset({"average_precision", "accuracy", "f1"})
    chance: ClassVar = 0.5
    aim: ClassVar = ("tells the classes apart", "tell the classes apart")
    undefined: ClassVar = "No fold tests slides of every class, so there is no AUROC."
    plateau: ClassVar = 0.65
    linear_model: ClassVar = "logistic regression"
    predicts: ClassVar = "the class"
    decided: ClassVar = ("predicted", "decision")
    contribution: ClassVar = "the log-odds of the class"
    plots: ClassVar = ("curves", "calibration", "confusion")
    page_plots: ClassVar = ("decisions",)

    def lacks(self, labels: Sequence[str] = ()) -> str:
        if self.classes:
            return ""
        names = yaml.safe_dump(list(labels), default_flow_style=True, allow_unicode=True, width=np.inf).strip()
        order = "in the order of their index; of two, the second is the positive one"
        return f"the data set has no `classes`: add classes: {names} to it, {order}"

    @property
    def label_help(self) -> str:
        of_classes = f"with one of {', '.join(self.classes)}" if self.classes else ""
        column = "fill in column label of the slide sheet"
        return f"{column} {of_classes}" if of_classes else f"{column}, and name them in the data set's `classes`"

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

    @property
    def needed_strata(self) -> tuple[str, ...]:
        return self.classes

    def name_strata(self, strata: Sequence[str]) -> str:
        return f"class {', '.join(strata)}"

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        indices = {"": UNLABELLED} | {name: index for index, name in enumerate(self.classes)}
        if unknown := set(labels) - set(indices):
            raise ValueError(f"label {min(unknown)!r} is not one of {', '.join(self.classes)}")
        return np.array([indices[label] for label in labels], dtype=np.int64)

    def are_known(self, targets: np.ndarray) -> np.ndarray:
        return targets != UNLABELLED

    def labels(self, targets: np.ndarray) -> list[str]:
        return [[*self.classes, ""][index] for index in targets]

    def groups(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        return {f"of class {name}": targets == index for index, name in enumerate(self.classes)}

    def describe(self, labels: Sequence[str], patients: Sequence[str]) -> str:
        pairs = list(zip(labels, patients, strict=True))
        by_class = {name: [patient for label, patient in pairs if label == name] for name in self.classes}
        return ", ".join(f"{len(ids)} {name} ({len(set(ids))} patients)" for name, ids in by_class.items())

    def guess_loss(self, targets: np.ndarray) -> float:
        return float(np.log(len(self.classes)))

    def loss(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, targets, reduction="none")

    def mean_loss(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        from torch.nn.functional import cross_entropy

        return cross_entropy(logits, targets)  # torch's own mean, which may differ from `loss` in the last digit

    def activation(self, logits: "Tensor") -> "Tensor":
        return logits.softmax(dim=-1)

    def fit_linear(
        self, features: np.ndarray, targets: np.ndarray, inverse: float, class_weights: np.ndarray | None = None
    ) -> Parameters:
        from roformermil.tasks.linear import fit_logistic

        weights = np.ones(len(self.classes)) if class_weights is None else class_weights
        return fit_logistic(features, targets, inverse, weights)

    @property
    def mapped(self) -> tuple[str, ...]:
        return self.classes

    def shown(self, predictions: np.ndarray) -> int:
        """Of two classes the second, whatever is predicted, so that colours mean the same on all slides; of more, the predicted."""
        return 1 if len(predictions) == 2 else int(predictions.argmax())

    def map_contributions(self, contributions: np.ndarray) -> np.ndarray:
        """What each tile adds to a class's logit minus the mean of the other classes' logits. With two classes these are log-odds. A
        tile that adds the same to all logits changes no probability."""
        classes = contributions.shape[1]
        return (contributions - contributions.mean(axis=1, keepdims=True)) * classes / (classes - 1)

    def map_attention(self, attention: np.ndarray) -> np.ndarray:
        return attention

    def gallery(self, targets: np.ndarray, predictions: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
        """By label, where there is none by predicted class; right or wrong; the most confident first."""
        decisions, without = predictions.argmax(axis=1), ~self.are_known(targets)
        groups = [self.classes[k] for k in np.where(without, decisions, targets)]
        outcomes = np.select([without, targets == decisions], ["unlabelled", "right"], "wrong").tolist()
        return groups, outcomes, predictions.max(axis=1)

    def validation_metrics(self, targets: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
        metrics = self.compute_metrics(targets, predictions)
        return {name: metrics[name] for name in ("auroc", "accuracy")}

    def weighted_metrics(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Values:
        from roformermil.tasks.class_metrics import weighted_metrics

        return weighted_metrics(targets, predictions, weights)
