"""Covariates: columns of the slide sheet, beside or instead of a slide's features."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from roformermil.config.model import Model, ModelName

# of the slide sheet: a covariate must not tell who the patient is, or what is to be predicted
REFUSED = ("slide_id", "patient_id", "path", "label", "time", "event")
FUSED: tuple[ModelName, ...] = ("ro-abmil", "abmil")  # trained with covariates too by default


def _check_name(name: str) -> str:
    if name in REFUSED:
        reason = "identifies a slide or is what models predict" if name not in ("time", "event") else "is an outcome"
        raise ValueError(f"column {name} {reason}: name other columns of the slide sheets, such as age")
    if not name.strip() or set(name) & set(",{}\n\r"):
        raise ValueError(
            f"{name!r}: a column's name without comma, braces and line breaks is needed; rename the column"
        )
    return name


CovariateName = Annotated[str, AfterValidator(_check_name)]


def covariate_models() -> list[Model]:
    """The models that are trained by default beside those without covariates."""
    fused = [Model(name=name, id=f"{name}-covariates", covariates=True) for name in FUSED]
    return [Model(name="covariates"), *fused]


def check_models(models: Sequence[Model], covariates: Sequence[str]) -> None:
    """Raises ValueError for a model that uses covariates where none are configured, and for covariates that no model uses."""
    using = [model.id for model in models if model.uses_covariates]
    if covariates and not using:
        added = "covariates, {name: ro-abmil, id: ro-abmil-covariates, covariates: true}"
        raise ValueError(
            f"covariates: no model uses them: add some to `models`, as in [{added}], or leave `models` out"
        )
    if using and not covariates:
        remedy = "name columns of the slide sheets, as in `covariates: [age, stage]`, or leave the model out"
        raise ValueError(f"{', '.join(using)} needs covariates, but none are configured: {remedy}")
