"""Models."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from roformermil.config.base import Name, Settings

RopeFrequencies = Literal["isotropic", "pixel", "lang", "mixed", "learned"]
ModelName = Literal[
    "abmil", "ro-abmil", "dsmil", "ro-dsmil", "gated-abmil", "transmil", "mean", "max", "mean-linear", "covariates"
]

LINEAR = ("mean-linear", "covariates")  # models without layers, fitted to the optimum


class Model(Settings):
    """A model and its settings."""

    name: ModelName
    """`ro-abmil`, `ro-dsmil`: heads over RoFormer layers; `abmil`, `dsmil`, `gated-abmil`, `mean`, `max`: heads over
    feed-forward layers of equal capacity; `transmil`: Nystroem attention and PPEG; `mean-linear`: logistic regression of the
    mean of a slide's features, its strength chosen on the validation slides; `covariates`: the same of the configured
    `covariates` alone. These two have no other settings."""
    id: Name = Field(default_factory=lambda values: values.get("name", ""))
    """Name in result folders and tables, to tell variants of a model apart. By default the model's name."""
    hidden_dim: int = Field(512, ge=8)
    """Width of a tile's vector after the input projection."""
    attention_dim: int = Field(256, ge=8)
    """Width of the attention in the (gated) ABMIL head. Has no effect on other heads."""
    num_heads: int = Field(8, ge=1)
    """Attention heads of RoFormer layers, TransMIL and the ABMIL head."""
    num_layers: int = Field(1, ge=0)
    """Layers between the input projection and the head. TransMIL counts its TPT modules, of two attention layers each."""
    position: Literal["rope", "sine", "alibi", "none"] = Field(
        default_factory=lambda values: "rope" if values.get("name", "").startswith("ro-") else "none"
    )
    """Position encoding of RoFormer layers: `rope` (the default of ro- models), `alibi` (relative too: scores fall with
    distance), `sine` (absolute) or `none`."""
    rope_frequencies: RopeFrequencies = "isotropic"
    """Frequencies of the rotary encoding. Along two axes: the paper's `pixel`, `lang` as in language models, or half of each
    (`mixed`). In all directions, from near to far: `isotropic`; `learned` starts from these."""
    rope_scale: float = Field(1.0, gt=0)
    """Factor on grid positions before they are encoded."""
    rope_locality: float = Field(3.0, ge=0)
    """How much attention prefers tiles nearby at the start: queries and keys begin with equal biases, whose rotary product is
    this much for a tile with itself and falls with distance. 0, as in the paper, can keep small cohorts from learning at
    all. In a slide of many thousand tiles, the many distant ones together still get most of the attention."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Dropout after attention, after the feed-forward layer and in the head."""
    covariates: bool = False
    """Whether `abmil` or `ro-abmil` uses the configured `covariates` too, beside the pooled vector of the tiles in the last linear
    layer (late fusion)."""

    @property
    def is_roformer(self) -> bool:
        return self.name.startswith("ro-")

    @property
    def is_linear(self) -> bool:
        """Whether it has no layers: a classifier of the mean of a slide's features, or of its covariates."""
        return self.name in LINEAR

    @property
    def uses_covariates(self) -> bool:
        """Whether covariates can change a prediction."""
        return self.covariates or self.name == "covariates"

    @property
    def uses_features(self) -> bool:
        """Whether tiles can change a prediction."""
        return self.name != "covariates"

    @property
    def uses_position(self) -> bool:
        """Whether the tiles' positions can change a prediction."""
        needs_layer = self.position in ("rope", "alibi") and self.num_layers > 0
        return needs_layer or self.position == "sine" or self.name == "transmil"

    @property
    def joins_slides(self) -> bool:
        """Whether a bag may have several slides. TransMIL lays all tiles of a bag out on one grid."""
        return self.name != "transmil"

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        if not self.is_roformer and self.position != "none":
            raise ValueError(f"{self.name} has no position encoding to set: ro-abmil and ro-dsmil have")
        if self.hidden_dim % self.num_heads or self.attention_dim % self.num_heads:
            raise ValueError("hidden_dim and attention_dim must be multiples of num_heads")
        if self.position == "rope" and self.hidden_dim // self.num_heads % 4:
            raise ValueError("rope needs hidden_dim / num_heads to be a multiple of 4: two axes of rotated pairs")
        if self.position != "rope" and any(getattr(self, key) != value for key, value in ROPE_DEFAULTS.items()):
            raise ValueError(f"{', '.join(ROPE_DEFAULTS)} have no effect without position: rope")
        if self.is_linear and (given := [key for key, value in LAYER_DEFAULTS.items() if getattr(self, key) != value]):
            raise ValueError(f"{self.name} has no layers: {', '.join(given)} would have no effect")
        if self.covariates and self.name not in FUSING:
            raise ValueError(f"{self.name} takes no covariates: late fusion is for {' and '.join(FUSING)}")
        if self.name == "transmil" and not self.num_layers:
            raise ValueError("transmil needs num_layers of 1 or more: else its class token never meets the tiles")
        if self.position == "sine" and self.hidden_dim % 4:
            raise ValueError("sine needs hidden_dim to be a multiple of 4: two axes of sines and cosines")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `covariates` where they are not used: else trainings made before the setting existed would count as outdated."""
        values = handler(self)
        if not self.covariates:
            values.pop("covariates", None)
        return values


FUSING = ("abmil", "ro-abmil")
ROPE_DEFAULTS = {key: field.default for key, field in Model.model_fields.items() if key.startswith("rope_")}
LAYERS = ("hidden_dim", "attention_dim", "num_heads", "num_layers", "dropout")
LAYER_DEFAULTS = {key: Model.model_fields[key].default for key in LAYERS}


def check_distinct_ids(models: list[Model]) -> list[Model]:
    """The models. Raises ValueError where two have one id."""
    ids = [model.id for model in models]
    if duplicates := sorted({id for id in ids if ids.count(id) > 1}):
        raise ValueError(f"duplicate model {', '.join(duplicates)}: give each variant an `id` of its own")
    return models


def _expand_name(entry: Any) -> Any:
    return {"name": entry} if isinstance(entry, str) else entry


ModelEntry = Annotated[Model, BeforeValidator(_expand_name, json_schema_input_type=ModelName | Model)]
