"""The paper's open questions."""

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from roformermil.config.slides import Name
from roformermil.config.training import Model, ModelEntry, ModelName, named_once
from roformermil.settings import Settings


def _once(values: list) -> list:
    if len({f"{value:g}" if isinstance(value, float) else value for value in values}) < len(values):
        raise ValueError("each value once")
    return values


class Ablation(Settings):
    """What `snakemake ablation` compares: each arm differs from one RoFormer model in one thing."""

    model: ModelEntry | None = None
    """The model to vary, `ro-abmil` or `ro-dsmil` with `rope`; by default the first such of `models`."""
    positions: list[Literal["pixel", "lang", "alibi", "sine", "none"]] = Field(
        ["pixel", "lang", "alibi", "sine", "none"]
    )
    """Position encodings; `pixel` and `lang` are rotary."""
    scales: list[Annotated[float, Field(gt=0)]] = Field([0.1, 0.3, 1.0, 3.0, 10.0])
    """Factors on grid positions (`rope_scale`)."""
    layers: list[Annotated[int, Field(ge=0)]] = Field([0, 1, 2, 3, 4])
    """Numbers of RoFormer layers."""
    capacity: bool = True
    """Whether to train the plain head of equal parameters, and the head alone."""

    @field_validator("positions", "scales", "layers")
    @classmethod
    def _each_once(cls, values: list) -> list:
        return _once(values)

    @field_validator("model")
    @classmethod
    def _roformer(cls, model: Model | None) -> Model | None:
        if model and model.position != "rope":
            raise ValueError("the model to vary must be ro-abmil or ro-dsmil with position: rope")
        return model


class Heatmaps(Settings):
    """Heat maps of every slide, by the model of the fold that tested it."""

    models: list[Name] | None = None
    """Ids (names or labels) of the models that get them, `[]` for none; by default the first RoFormer model of `models`, else the first."""
    in_report: int = Field(1, ge=0)
    """Slides a class in the report: so many that the model was surest of and got right, and so many that it got wrong."""


class Overhead(Settings):
    """What `snakemake overhead` measures: time and memory of every kind of model against tiles a slide."""

    models: list[ModelEntry] = Field(default_factory=lambda: [Model(name=n) for n in get_args(ModelName)], min_length=1)
    """Models to measure, by default one of each kind, of the paper's size."""
    tiles: list[Annotated[int, Field(ge=1)]] = Field([1000, 4000, 16000, 64000], min_length=1)
    """Tiles of the slide in a step."""
    repeats: int = Field(5, ge=2)
    """Steps, and inferences, that are timed after one that is not ..."""
    seconds: float = Field(60.0, gt=0)
    """... or as many as fit into this time, at least two (then the first, which loads and allocates, is one of them)."""

    @field_validator("models")
    @classmethod
    def _labels(cls, models: list[Model]) -> list[Model]:
        return named_once(models)

    @field_validator("tiles")
    @classmethod
    def _each_once(cls, tiles: list[int]) -> list[int]:
        return _once(tiles)
