"""Folds, models and their training."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from roformermil.config.slides import Name
from roformermil.settings import Settings

ModelName = Literal["abmil", "ro-abmil", "dsmil", "ro-dsmil", "gated-abmil", "transmil", "mean", "max"]


class Folds(Settings):
    """Cross-validation (paper, section 3.2: 10 stratified folds)."""

    count: int = Field(10, ge=3)
    """Number of folds. Fold k tests on part k, validates on the next part and trains on the rest."""
    seed: int = 1
    """Seed of the split; given folds need none."""
    mode: Literal["rotation", "paper"] = "rotation"
    """`rotation`: as said at `count`. `paper`: as the paper's release splits, by slide whoever the patient is, and a
    tenth of what is not tested validates. Results of `paper` flatter where patients have several slides."""
    group_by_patient: bool = True
    """Keep a patient's slides in one part. False splits by slide, and so does `mode: paper`."""
    path: str | None = None
    """Given folds instead, a CSV `fold, slide_id, part`; `{dataset}` in it stands for the data set's name."""

    @model_validator(mode="after")
    def _paper(self) -> "Folds":
        if self.mode == "paper":
            if "group_by_patient" in self.model_fields_set and self.group_by_patient:
                raise ValueError("mode: paper splits by slide; leave out group_by_patient: true")
            if self.path:
                raise ValueError("folds are either given by path or made by mode: paper")
            object.__setattr__(self, "group_by_patient", False)
        return self


Action = Literal["fail", "warn"]


class Audit(Settings):
    """What a leak does, once folds are made and before anything is trained: it stops the data set, or is a warning in the report."""

    patients: Action = "fail"
    """A patient in two parts of a fold. Always a warning where `folds` are by slide, since that was asked for."""
    duplicates: Action = "fail"
    """Slides that show the same, in whatever files, in two parts of a fold, or with two labels."""
    sites: Action = "fail"
    """The sheet's column `site` tells the label (Cramer's V 0.3 or more, p < 0.05 by permutation). No split mends that: `warn` goes
    on, with a warning in the report."""


class Model(Settings):
    """A model and its settings."""

    name: ModelName
    """`ro-abmil`, `ro-dsmil`: heads over RoFormer blocks; `abmil`, `dsmil`, `gated-abmil`, `mean`, `max`: heads over
    feed-forward blocks of equal capacity; `transmil`: Nystroem attention and PPEG."""
    label: Name | None = None
    """Name in result folders and tables, to tell variants apart. By default the model's name."""
    hidden_dim: int = Field(512, ge=8)
    """Width of a tile's vector after the input projection."""
    attention_dim: int = Field(256, ge=8)
    """Width of the attention in the (gated) ABMIL head; the others have none to set."""
    heads: int = Field(8, ge=1)
    """Attention heads, in RoFormer blocks, TransMIL and the ABMIL head."""
    layers: int = Field(1, ge=0)
    """Blocks between the input projection and the head. TransMIL's block is its TPT module, of two attention layers."""
    position: Literal["rope", "sine", "alibi", "none"] | None = None
    """Position encoding of RoFormer blocks: `rope` (the default of ro- models), `alibi` (relative too: scores fall
    with distance), `sine` (absolute) or `none`."""
    rope_frequencies: Literal["pixel", "lang"] = "pixel"
    """Frequencies of the rotary encoding."""
    rope_scale: float = Field(1.0, gt=0)
    """Grid positions are multiplied by this before encoding."""
    dropout: float = Field(0.25, ge=0, lt=1)
    """Dropout after attention, after the feed-forward layer and in the head."""

    @property
    def id(self) -> str:
        return self.label or self.name

    @property
    def is_roformer(self) -> bool:
        return self.name.startswith("ro-")

    @model_validator(mode="after")
    def _consistent(self) -> "Model":
        if not self.is_roformer and self.position not in (None, "none"):
            raise ValueError(f"{self.name} has no position encoding to set: ro-abmil and ro-dsmil have")
        if self.position is None:
            object.__setattr__(self, "position", "rope" if self.is_roformer else "none")
        if self.hidden_dim % self.heads or self.attention_dim % self.heads:
            raise ValueError("hidden_dim and attention_dim must be multiples of heads")
        if self.position == "rope" and self.hidden_dim // self.heads % 4:
            raise ValueError("rope needs hidden_dim / heads to be a multiple of 4: two axes of rotated pairs")
        if self.position != "rope" and (self.rope_frequencies, self.rope_scale) != ("pixel", 1.0):
            raise ValueError("rope_frequencies and rope_scale say nothing without position: rope")
        if self.name == "transmil" and not self.layers:
            raise ValueError("transmil needs layers: 1 or more; without one its class token never meets the tiles")
        if self.position == "sine" and self.hidden_dim % 4:
            raise ValueError("sine needs hidden_dim to be a multiple of 4: two axes of sines and cosines")
        return self


class Training(Settings):
    """Training of one fold (paper, section 3.2)."""

    without_effect: ClassVar = frozenset({"cache_gb", "readers", "tensorboard"})

    epochs: int = Field(50, ge=1)
    """At most this many passes over the training slides."""
    patience: int = Field(10, ge=1)
    """Stop after this many epochs without improvement of `monitor`."""
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's learning rate."""
    weight_decay: float = Field(1e-5, ge=0)
    """Adam's weight decay."""
    batch_size: int = Field(4, ge=1)
    """Slides a step."""
    scheduler_factor: float = Field(0.1, gt=0, lt=1)
    """The learning rate is multiplied by this when the validation loss stands still ..."""
    scheduler_patience: int = Field(5, ge=0)
    """... for more than this many epochs."""
    monitor: Literal["loss", "auroc", "accuracy"] = "loss"
    """Validation figure that chooses the best epoch. AUROC and accuracy of a few slides take few values; the loss does
    not."""
    seed: int = 1
    """Seed of initial weights, dropout and slide order; each fold and model derives its own from it."""
    max_tiles: int | None = Field(None, ge=1)
    """At most this many tiles of a slide in a training step, drawn afresh each epoch; evaluation sees whole slides."""
    checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: for slides that do not fit otherwise."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the model; `auto` is bf16 on a GPU that has it and fp32 elsewhere. fp16 comes with a scaled loss."""
    cache_gb: float = Field(4.0, ge=0)
    """This many GB of features are kept in memory between epochs; what does not fit is read from disk each time."""
    readers: int = Field(4, ge=1)
    """Threads that read features ahead of the step."""
    tensorboard: bool = False
    """Write each epoch's figures for TensorBoard too, into `tensorboard` in the fold's folder: `tensorboard --logdir results`."""


def _model(given: Any) -> Any:
    """A model's name alone stands for its settings."""
    return {"name": given} if isinstance(given, str) else given


def named_once(models: list[Model]) -> list[Model]:
    names = [m.id for m in models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{sorted(twice)} stand twice: give each variant a `label` of its own")
    return models


ModelEntry = Annotated[Model, BeforeValidator(_model, json_schema_input_type=ModelName | Model)]
