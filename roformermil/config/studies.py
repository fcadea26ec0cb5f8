"""Heat maps, and the studies of the paper's open questions."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field, field_validator

from roformermil.config.base import Distinct, Name, Settings
from roformermil.config.model import Model, ModelEntry, ModelName, RopeFrequencies, check_distinct_ids
from roformermil.config.training import GridAugmentation, Normalization

Position = Literal[RopeFrequencies, "alibi", "sine", "none"]


class Heatmaps(Settings):
    """Heat maps of every slide, by the model of the fold that tested it."""

    models: list[Name] | None = None
    """Ids of the models that get them, `[]` for none; by default the first RoFormer model of `models`, else the first."""
    in_report: int = Field(1, ge=0)
    """Slides per class in the report: this many of the most confident right predictions, and as many wrong ones."""
    smooth: bool = False
    """Whether colours blend each tile's value with its neighbours'; titles then say so. Values in `.geojson` are always per tile."""


class Ablation(Settings):
    """What `snakemake ablation` compares: each variant differs from one RoFormer model in one thing.
    An empty list leaves out a comparison."""

    datasets: Annotated[Distinct[Name], Field(min_length=1)] | None = None
    """Data sets on which to compare; by default all."""
    model: ModelEntry | None = None
    """The model to vary, `ro-abmil` or `ro-dsmil` with `rope`; by default the first such of `models`."""
    positions: Distinct[Position] = Field(list(get_args(Position)))
    """Position encodings; all but `alibi`, `sine` and `none` are rotary, with these frequencies (`rope_frequencies`)."""
    scales: Distinct[Annotated[float, Field(gt=0)]] = Field([0.1, 0.3, 1.0, 3.0, 10.0])
    """Factors on grid positions (`rope_scale`)."""
    localities: Distinct[Annotated[float, Field(ge=0)]] = Field([0.0, 1.0, 3.0])
    """How much tiles nearby count at the start (`rope_locality`)."""
    layers: Distinct[Annotated[int, Field(ge=0)]] = Field([0, 1, 2, 3, 4])
    """Numbers of RoFormer layers."""
    augmentations: Distinct[GridAugmentation] = Field(list(get_args(GridAugmentation)))
    """Changes of the grid in training (`training.augment_grid`)."""
    normalizations: Distinct[Normalization] = Field(list(get_args(Normalization)))
    """Normalizations of the features (`training.normalize`)."""
    capacity: bool = True
    """Whether to train the plain head with as many parameters, and the head alone."""

    @field_validator("model")
    @classmethod
    def _rotary(cls, model: Model | None) -> Model | None:
        if model and model.position != "rope":
            raise ValueError("the model to vary must be ro-abmil or ro-dsmil with position: rope")
        return model


class Overhead(Settings):
    """What `snakemake overhead` measures: time and memory of every kind of model against the tiles per slide."""

    models: Annotated[list[ModelEntry], AfterValidator(check_distinct_ids)] = Field(
        default_factory=lambda: [model for name in get_args(ModelName) if not (model := Model(name=name)).is_linear],
        min_length=1,
    )
    """Models to measure, by default one of each kind that has layers, in the paper's size."""
    tiles: Distinct[Annotated[int, Field(ge=1)]] = Field([1000, 4000, 16000, 64000], min_length=1)
    """Tiles per slide."""
    repeats: int = Field(5, ge=2)
    """Timed training steps and timed inferences, after one of each that is not timed; fewer if `seconds` is exceeded."""
    seconds: float = Field(60.0, gt=0)
    """Time limit of the steps and of the inferences. At least two are timed; the first may then load and allocate."""
