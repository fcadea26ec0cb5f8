"""A packaged model's operating points and temperatures, and what it decides of a slide."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from roformermil.config import Unit
from roformermil.config.base import Settings


class DecisionResult(Settings):
    """What an operating point reached on test slides in cross-validation: a row of decisions.csv."""

    metric: str
    prevalence: float | None
    value: float | None
    ci_low: float | None
    ci_high: float | None


class ClassDecision(Settings):
    """The operating point of a class."""

    threshold: float
    """A slide of this probability or more is called so: the members' median, since one that calls every slide or none would decide a
    mean."""
    lowest: float
    """The members' lowest and highest."""
    highest: float
    prevalence: float | None = None
    """Of the configuration: PPV and NPV are given for it too."""
    results: list[DecisionResult]


class PackagedDecisions(Settings):
    """How the ensemble's probabilities become decisions."""

    operating_point: str
    """What was chosen on each fold's validation slides."""
    classes: dict[str, ClassDecision]
    """Of two classes the positive one, of more each against the rest; none without validation slides of all classes."""
    temperatures: dict[str, float] = Field({})
    """Of each member, by file; empty where probabilities are not scaled."""

    def decide(self, probabilities: np.ndarray, classes: Sequence[str]) -> str | None:
        """The class that a slide is called; of more than two all that reach their operating point, `; ` between, or `none`.
        None where the model has no operating point. probabilities: (C,)."""
        if not self.classes:
            return None
        reached = [name for name in self.classes if probabilities[classes.index(name)] >= self.classes[name].threshold]
        if len(classes) == 2:
            return reached[0] if reached else classes[0]
        return "; ".join(reached) or "none"

    def describe(self, unit: Unit = "slide") -> list[str]:
        """What each class is called at and what that reached, in sentences. unit: what the model's bags are."""
        chosen = f"{self.operating_point} on each fold's validation {unit}s"
        lines = [
            f"A {unit} is called {name} at a probability of {one.threshold:.2f} or more ({chosen}; members {one.lowest:.2f} to"
            f" {one.highest:.2f}). On test {unit}s in cross-validation: {_results_text(one.results)}."
            for name, one in self.classes.items()
        ]
        if self.temperatures:
            values = self.temperatures.values()
            spread = f"{min(values):.2f} to {max(values):.2f}"
            lines.append(
                f"Each member's probabilities are scaled by a temperature of its validation {unit}s ({spread})."
            )
        return lines


def _results_text(results: Sequence[DecisionResult]) -> str:
    texts = []
    for one in results:
        name = one.metric.removesuffix("_at_prevalence")
        name = name.upper() if name in ("ppv", "npv") else name
        interval = "no interval" if one.ci_low is None else f"{one.ci_low:.2f} to {one.ci_high:.2f}"
        at = f" at a prevalence of {one.prevalence:.2g}" if name.isupper() and one.prevalence is not None else ""
        texts.append(f"{name} {'none' if one.value is None else f'{one.value:.2f}'} [{interval}]{at}")
    return ", ".join(texts)
