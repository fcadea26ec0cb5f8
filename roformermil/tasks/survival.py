"""The time to an event, which is only known to be later where a patient was censored before: discrete-time hazards.

Zadeh and Schmid, IEEE Transactions on Pattern Analysis and Machine Intelligence 43, 2021 (online 2020): time is cut into
intervals; each output of a model is the logit of the hazard of one, the probability of the event in it for those whom it has
not met before. Every bag has a likelihood of its own. Cox's partial likelihood compares the bags of a batch, and four slides
at a time rarely have an event and someone to compare it with.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from roformermil.errors import FoldsError, SheetError
from roformermil.runtime.text import plural
from roformermil.tasks.base import Parameters, Task, Values

if TYPE_CHECKING:
    from torch import Tensor

INTERVALS = 4
LABEL = re.compile(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?)(\+?)")
EVENTS = {"1": True, "1.0": True, "0": False, "0.0": False}  # spreadsheets write 1.0 where another cell is empty


@dataclass(frozen=True)
class Survival(Task):
    """The risk of an event. A label is a time, `42`, or `42+` where the event had not happened by then (as R's `Surv` writes
    it); a target is the time and 1 with an event, 0 without."""

    ends: tuple[float, ...] = ()  # of the intervals, from the training labels

    name: ClassVar = "survival"
    metrics: ClassVar = {"c_index": "C-index"}
    headline: ClassVar = ("c_index",)
    reported: ClassVar = ("c_index",)
    compared: ClassVar = ("c_index",)
    transferred: ClassVar = ("c_index",)
    chance: ClassVar = 0.5
    aim: ClassVar = ("ranks patients by risk", "rank patients by risk")
    undefined: ClassVar = "No fold tests slides whose times can be compared, so there is no C-index."
    plateau: ClassVar = 0.55
    few: ClassVar = "the C-index is coarse"
    odds_of: ClassVar = "the event in an interval"
    linear_model: ClassVar = "discrete-time model of the hazards"
    predicts: ClassVar = "the risk of an event"
    decided: ClassVar = ("group",)
    contribution: ClassVar = "the risk: the log-odds of the event in an interval, mean over intervals"
    plots: ClassVar = ("survival",)
    sheet_columns: ClassVar = ("time", "event")
    tables: ClassVar = ("survival_groups", "survival_curves")

    @property
    def outputs(self) -> list[str]:
        return [f"until {end:g}" for end in self.ends]

    @property
    def columns(self) -> list[str]:
        """`risk`, the mean over the intervals' ends of the probability that the event came before; then the probability at each
        end that it did not."""
        return ["risk", *(f"survival_{k}" for k in range(1, INTERVALS + 1))]

    def check(self, label: str) -> None:
        if not LABEL.fullmatch(label):
            raise SheetError(f"label {label!r}; expected a time, followed by + without an event: 42 or 42+")

    def read_label(self, row: Mapping[str, str]) -> str:
        return survival_label(row.get("time", ""), row.get("event", ""))

    def write_label(self, label: str) -> dict[str, str]:
        if not label:
            return dict.fromkeys(self.sheet_columns, "")
        return {"time": label.removesuffix("+"), "event": "0" if label.endswith("+") else "1"}

    def strata(self, labels: Sequence[str]) -> list[str]:
        return ["censored" if label.endswith("+") else "event" for label in labels]

    @property
    def needed_strata(self) -> tuple[str, ...]:
        return ("event",)

    def name_strata(self, strata: Sequence[str]) -> str:
        return " and ".join({"event": "the group with an event"}.get(name, f"the {name} group") for name in strata)

    def fit(self, labels: Sequence[str]) -> "Survival":
        """With intervals that each have a fifth of the events. The last fifth comes after them: an interval that ended with the last
        event would have none that survived it, and so no hazard to learn."""
        if not (times := [time for time, event in self.targets(labels) if event == 1]):
            raise FoldsError(
                "no training slide of the fold has an event, so there is no survival to learn: use fewer folds or another folds.seed"
            )
        shares = np.arange(1, INTERVALS + 1) / (INTERVALS + 1)
        return replace(self, ends=tuple(np.quantile(times, shares, method="inverted_cdf").tolist()))

    def targets(self, labels: Sequence[str]) -> np.ndarray:
        return np.array([parse_survival(label) for label in labels], dtype=np.float64).reshape(-1, 2)

    def labels(self, targets: np.ndarray) -> list[str]:
        return [f"{time:.15g}{'' if event else '+'}" if np.isfinite(time) else "" for time, event in targets]

    def groups(self, targets: np.ndarray) -> dict[str, np.ndarray]:
        return {"with an event": targets[:, 1] == 1}

    def describe(self, labels: Sequence[str], patients: Sequence[str]) -> str:
        with_event = [patient for label, patient in zip(labels, patients, strict=True) if not label.endswith("+")]
        return f"{len(with_event)} with an event ({plural(len(set(with_event)), 'patient')}), the others censored"

    def guess_loss(self, targets: np.ndarray) -> float:
        """With the hazards of the life table: events of each interval over those who entered it and were not lost in it."""
        from scipy.special import xlogy

        ends, time, event = np.array(self.ends), targets[:, :1], targets[:, 1:] > 0
        starts = np.append(-np.inf, ends[:-1])
        survived = np.where(event, ends < time, ends <= time).sum(axis=0)
        ended = (event & (starts < time) & (time <= ends)).sum(axis=0)
        total = np.maximum(survived + ended, 1)
        return float(-(xlogy(ended, ended / total) + xlogy(survived, survived / total)).sum() / len(targets))

    def loss(self, logits: "Tensor", targets: "Tensor") -> "Tensor":
        """The negative logarithm of the likelihood: no event in the intervals before, and the event in its own. Without an event,
        only intervals that were survived to their end count."""
        import torch
        from torch.nn.functional import softplus

        ends = torch.tensor(self.ends, dtype=targets.dtype, device=targets.device)  # (M,)
        time, event = targets[:, :1], targets[:, 1:] > 0  # (B, 1) each
        survived = torch.where(event, ends < time, ends <= time)  # (B, M)
        starts = torch.cat([ends.new_full((1,), -torch.inf), ends[:-1]])
        ended = event & (starts < time) & (time <= ends)  # (B, M)
        return (softplus(logits) * survived + softplus(-logits) * ended).sum(dim=-1)

    def activation(self, logits: "Tensor") -> "Tensor":
        import torch
        from torch.nn.functional import softplus

        survival = (-softplus(logits)).cumsum(dim=-1).exp()  # (..., M)
        return torch.cat([1 - survival.mean(dim=-1, keepdim=True), survival], dim=-1)

    def fit_linear(
        self, features: np.ndarray, targets: np.ndarray, inverse: float, class_weights: np.ndarray | None = None
    ) -> Parameters:
        """Hazards of all intervals that a tile changes alike, and a baseline for each."""
        import torch

        from roformermil.tasks.linear import fit_shared_weights

        known = torch.from_numpy(targets)
        return fit_shared_weights(features, lambda logits: self.loss(logits, known), len(self.ends), inverse)

    def describe_prediction(self, predictions: np.ndarray, label: str = "") -> str:
        known = f", no event by {label[:-1]}" if label.endswith("+") else f", event at {label}" if label else ""
        return f"risk {predictions[0]:.2f}{known}"

    def explain_columns(self) -> str:
        at = ", ".join(f"{end:g}" for end in self.ends)
        ends = f" (in the first member {at})" if at else ""
        return (
            f"`survival_1` to `survival_{INTERVALS}` are the probabilities to be without an event at {INTERVALS} times, by which"
            f" 20, 40, 60 and 80% of the events of each member's training had happened{ends}; `risk` is the mean probability of an event by then."
        )

    def map_contributions(self, contributions: np.ndarray) -> np.ndarray:
        """What each tile adds to the logit of the hazard, the mean over the intervals."""
        return contributions.mean(axis=1, keepdims=True)

    def weighted_metrics(self, targets: np.ndarray, predictions: np.ndarray, weights: np.ndarray) -> Values:
        return {"c_index": concordance(targets[:, 0], targets[:, 1] > 0, predictions[:, 0], weights)}


def parse_survival(label: str) -> tuple[float, float]:
    """Time, and 1 with an event, 0 without; NaN both without a label. Raises ValueError."""
    if not label:
        return np.nan, np.nan
    if not (match := LABEL.fullmatch(label)):
        raise ValueError(f"{label!r} is no time, followed by + without an event")
    return float(match[1]), float(not match[2])


def survival_label(time: str, event: str) -> str:
    """The label of the slide sheet's cells `time` and `event`; "" without both. Raises SheetError."""
    if not (time or event):
        return ""
    try:
        number = float(time)
    except ValueError:
        number = np.nan
    if not 0 <= number < np.inf:
        remedy = "write decimals with a point" if "," in time else "where it is unknown, leave time and event empty"
        raise SheetError(f"time {time!r}; expected a number of 0 or more: {remedy}")
    if event not in EVENTS:
        raise SheetError(f"event {event!r}; expected 1 (it happened at that time) or 0 (it had not happened by then)")
    return f"{number:.15g}" + ("" if EVENTS[event] else "+")


def concordance(times: np.ndarray, events: np.ndarray, risks: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Harrell's C-index (JAMA 247, 1982), (R,) for weights (R, n): the share of comparable pairs in which the higher risk has the
    earlier event; equal risks count half.

    times, risks: (n,); events: (n,) bool. A pair is comparable where one had the event while the other was still under
    observation without one. NaN without such a pair.
    """
    later = (times[:, None] < times[None, :]) | ((times[:, None] == times[None, :]) & ~events[None, :])
    comparable = events[:, None] & later  # (n, n): row before column
    order = np.where(comparable, np.sign(risks[:, None] - risks[None, :]) / 2 + 0.5, 0)
    pairs = ((weights @ comparable) * weights).sum(axis=1)
    return np.divide(
        ((weights @ order) * weights).sum(axis=1), pairs, out=np.full(len(weights), np.nan), where=pairs > 0
    )
