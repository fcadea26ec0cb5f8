"""The search for settings."""

import difflib
import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from roformermil.config.base import Distinct, Name, Settings
from roformermil.config.model import Model
from roformermil.config.training import Training

MAX_SETTINGS = 1_000_000
SUFFIX = ".searched"  # of the id of a model whose folds are trained with the settings that each chose
# other models, other draws, or no other result
FIXED = {"name", "id", "covariates", "seed", *Training.runtime_only}
WEIGHTING = {
    "class_weights": "none",
    "sampler": "shuffle",
}  # keys of Training that change what a loss means, and their defaults
SEARCHABLE = [key for section in (Model, Training) for key in section.model_fields if key not in FIXED]


class Search(Settings):
    """What `snakemake search` tries: settings of a model, chosen in each fold on its validation slides alone."""

    space: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = None
    """Keys of section Model or Training, each with the values to try: `{learning_rate: [1.0e-4, 1.0e-3], dropout: [0.0, 0.25]}`.
    A setting has one value of each. Without a space there is nothing to search."""
    budget: int = Field(10, ge=2)
    """Trainings per fold and model, the first with the settings of `models` and `training`. Where the space has more settings,
    so many are drawn at random, the same for all folds; a larger budget adds to them."""
    seed: int = 1
    """Seed of the draw."""
    score: Literal["loss", "auroc"] = "loss"
    """What chooses among the trainings of a fold: the mean log loss of its validation slides, or their AUROC, which takes few
    values on few slides; equal ones are then ordered by loss."""
    models: Annotated[Distinct[Name], Field(min_length=1)] | None = None
    """Ids of the models whose settings are searched; by default the first RoFormer model of `models`, else the first."""
    datasets: Annotated[Distinct[Name], Field(min_length=1)] | None = None
    """Data sets on which to search; by default all."""

    @field_validator("space")
    @classmethod
    def _known_keys(cls, space: dict[str, list[Any]] | None) -> dict[str, list[Any]] | None:
        for key in space or {}:
            if key in FIXED:
                raise ValueError(
                    f"{key} cannot be searched: it makes another model of `models`, or decides no result but by chance"
                )
            if key not in SEARCHABLE:
                close = difflib.get_close_matches(key, SEARCHABLE, n=1)
                hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(SEARCHABLE)}"
                raise ValueError(f"{key} is no key of section Model or Training; {hint}")
        if space and math.prod(map(len, space.values())) > MAX_SETTINGS:
            raise ValueError(f"has more than {MAX_SETTINGS:,} settings: leave out keys or values")
        return space

    def check_weighting(self, training: Training) -> None:
        """Raises ValueError for a loss that weighted classes or balanced draws make incomparable."""
        weighting = [
            key for key, default in WEIGHTING.items() if key in (self.space or {}) or getattr(training, key) != default
        ]
        if self.space and self.score == "loss" and weighting:
            reason = f"{' and '.join(weighting)} changes what probabilities mean, so log losses do not compare"
            raise ValueError(f"search.score: {reason}: set it to auroc")
