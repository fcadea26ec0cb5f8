"""How probabilities become decisions."""

from typing import Annotated

from pydantic import Field, model_validator

from roformermil.config.base import Settings

Share = Annotated[float, Field(gt=0, lt=1)]


class Decisions(Settings):
    """How probabilities become decisions. Each fold's operating point, the probability from which a slide is called positive,
    is chosen on its validation slides and applied to its test slides. With more than two classes, each has one against the rest."""

    sensitivity: Share | None = None
    """Choose the operating point with at least this sensitivity on the validation slides, and the highest specificity. By default
    it has the highest sum of sensitivity and specificity (Youden's index)."""
    specificity: Share | None = None
    """Choose it with at least this specificity instead, and the highest sensitivity."""
    prevalence: dict[str, Share] = Field({})
    """Also give predictive values (PPV, NPV) at this prevalence of a class, where that of the slides is not the one in practice:
    `{tumor: 0.1}`. Of two classes, of the positive one."""
    temperature: bool = False
    """Scale probabilities by a temperature, fitted to each fold's validation slides, before they become decisions, and in
    packaged models. What that changes is in `probabilities.csv` either way. Metrics are of the probabilities as predicted."""

    @property
    def rule(self) -> str:
        """What the operating point is chosen for, in words."""
        if self.sensitivity is not None:
            return f"sensitivity {self.sensitivity:g}"
        return "Youden's index" if self.specificity is None else f"specificity {self.specificity:g}"

    @model_validator(mode="after")
    def _one_target(self) -> "Decisions":
        if self.sensitivity is not None and self.specificity is not None:
            raise ValueError("sensitivity and specificity each choose the operating point: leave one out")
        return self

    def check_classes(self, classes: dict[str, list[str]]) -> None:
        """Raises ValueError where `prevalence` names what is no data set's class, or only the negative one of two.

        classes: of each data set."""
        known = {name for names in classes.values() for name in (names[1:] if len(names) == 2 else names)}
        if unknown := sorted(set(self.prevalence) - known):
            rule = "of two classes, the second is the positive one"
            raise ValueError(f"prevalence: {unknown[0]} is none of the classes {', '.join(sorted(known))}; {rule}")
