"""The frozen network that turns a tile into a vector."""

import difflib
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from roformermil.config.encoder_specs import IMPORTED, SPECS, TIMM, encoder_spec
from roformermil.config.slides import Name
from roformermil.settings import Settings


class Encoder(Settings):
    """The frozen network that turns a tile into a vector."""

    without_effect: ClassVar = frozenset(
        {"batch_size", "compile", "readers"}
    )  # a store's fingerprint leaves them out too

    name: str = "resnet50"
    """`resnet50`: ResNet-50 truncated after layer3, global average pooling, 1024 values a tile; `resnet50-full`: after
    layer4, 2048; `uni`, `uni2-h`, `virchow`, `virchow2`, `h-optimus-0`, `h-optimus-1`, or `timm:NAME` for any model of
    timm (the extra `[timm]`); `imported`: the sheet's paths are .h5 files with features of CLAM, TRIDENT or alike."""
    weights: str | None = None
    """`imagenet` (torchvision's published file, fetched once), `hub` (timm's), `random`, or the path of a state dict. By
    default what was published."""
    label: Name | None = None
    """Name in result folders and tables. By default `name-weights`."""
    seed: int = Field(0, ge=0)
    """Seed of `random` weights."""
    batch_size: int = Field(32, ge=1)
    """Tiles encoded at a time."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the encoder; `auto` is fp16 on a GPU and fp32 on a CPU."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Whether torch compiles the encoder: a third faster on a CPU, after half a minute. `auto`: on a CPU that has a C++
    compiler."""
    readers: int | None = Field(None, ge=1)
    """Processes that read tiles, each with the slide open; by default 2, with a GPU as many as CPU cores."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*SPECS, IMPORTED) and not name.startswith(TIMM):
            close = difflib.get_close_matches(name, SPECS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(SPECS)}, {TIMM}NAME, {IMPORTED}"
            raise ValueError(f"no encoder is named {name!r}; {hint}")
        return name

    @property
    def is_imported(self) -> bool:
        return self.name == IMPORTED

    @property
    def id(self) -> str:
        """Name in result folders and tables. Random weights are always named as such."""
        name = self.label or self.name.removeprefix(TIMM)
        if self.weights == "random":
            return f"{name}-random"
        return name if self.label or self.is_imported else f"{name}-{Path(str(self.weights)).stem}"

    @property
    def weights_path(self) -> Path | None:
        """The weights' file where one was given."""
        return None if self.weights in (None, "imagenet", "hub", "random") else Path(str(self.weights))

    @model_validator(mode="after")
    def _published_weights(self) -> "Encoder":
        published = None if self.is_imported else "imagenet" if not encoder_spec(self.name).architecture else "hub"
        if self.weights is None:
            object.__setattr__(self, "weights", published)
        if self.weights in ("imagenet", "hub") and self.weights != published:
            raise ValueError(f"{self.name} has no weights: {self.weights}; leave them out for its published ones")
        if self.is_imported and self.weights:
            raise ValueError("imported features have no weights to load")
        return self

    @model_validator(mode="after")
    def _usable_id(self) -> "Encoder":
        if Path(self.id).name != self.id or self.id.startswith(".") or self.id in ("features", "tissue", "tiles"):
            raise ValueError("give this encoder a `label` that can name a folder beside features, tissue and tiles")
        if self.seed and self.weights != "random":
            raise ValueError("seed is for weights: random")
        return self
