"""The frozen network that turns tiles into vectors."""

import difflib
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from roformermil.config.base import Name, Settings, UserText
from roformermil.config.encoder_specs import IMPORTED, SPECS, TIMM, encoder_spec

RESERVED = ("features", "tissue", "tiles")  # other folders in a data set's folder


def _published_weights(values: dict[str, Any]) -> str | None:
    if (name := values.get("name", "")) == IMPORTED:
        return None
    return "hub" if encoder_spec(name).architecture else "imagenet"


def _default_id(values: dict[str, Any]) -> str:
    name, weights = str(values.get("name", "")).removeprefix(TIMM), values.get("weights")
    return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{name}-{Path(weights).stem}" if weights else name)


class Encoder(Settings):
    """The frozen network that turns tiles into vectors."""

    runtime_only: ClassVar = frozenset({"batch_size", "compile", "readers"})  # not in a store's fingerprint either

    name: str = "resnet50"
    """`resnet50`: ResNet-50 truncated after layer3, global average pooling, 1024 values per tile; `resnet50-full`: after
    layer4, 2048; `uni`, `uni2-h`, `virchow`, `virchow2`, `h-optimus-0`, `h-optimus-1`, or `timm:NAME` for any model of
    timm (the extra `[timm]`); `imported`: the slide sheet's paths are .h5 files with features of CLAM, TRIDENT, STAMP or alike."""
    weights: UserText | None = Field(default_factory=_published_weights)
    """`imagenet` (torchvision's published file, downloaded once), `hub` (timm's), `random`, or the path of a state dict. By
    default the published ones."""
    id: Name = Field(default_factory=_default_id, validate_default=True)
    """Name in result folders and tables, by default `name-weights`. With random weights it ends in `-random`."""
    seed: int = Field(0, ge=0)
    """Seed of `random` weights."""
    batch_size: int | None = Field(None, ge=1)
    """Tiles encoded at a time; by default 32, on a GPU 128."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number type of the encoder; `auto` is fp16 on a GPU and fp32 on a CPU."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Whether torch compiles the encoder: a third faster on a CPU, after 30 s. `auto`: on CPUs with a C++ compiler."""
    readers: int | None = Field(None, ge=1)
    """Processes that read tiles, each with the slide open; by default 2, with a GPU as many as CPU cores."""

    @property
    def is_imported(self) -> bool:
        return self.name == IMPORTED

    @property
    def is_large(self) -> bool:
        """Whether it is a network of timm, which counts as a large one."""
        return bool(encoder_spec(self.name).architecture)

    @property
    def memory(self) -> int:
        """MB that a process with the network takes: a ResNet-50 with its compiler, or a large network loaded twice over."""
        return 12_000 if self.is_large else 4_000

    @property
    def is_downloaded(self) -> bool:
        """Whether the weights are published ones."""
        return self.weights in ("imagenet", "hub")

    @property
    def weights_path(self) -> Path | None:
        """The file of the weights, if they are a file of the user's."""
        return None if self.weights in (None, "imagenet", "hub", "random") else Path(str(self.weights))

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*SPECS, IMPORTED) and not name.startswith(TIMM):
            close = difflib.get_close_matches(name, SPECS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(SPECS)}, {TIMM}NAME, {IMPORTED}"
            raise ValueError(f"no encoder is named {name!r}; {hint}")
        return name

    @field_validator("id")
    @classmethod
    def _random_by_name(cls, id: str, info: ValidationInfo) -> str:
        return f"{id}-random" if info.data.get("weights") == "random" and not id.endswith("-random") else id

    @model_validator(mode="after")
    def _consistent(self) -> "Encoder":
        published = _published_weights({"name": self.name})
        if self.is_imported and self.weights:
            raise ValueError("imported features have no weights to load")
        if not self.is_imported and not self.weights:
            raise ValueError("weights is empty; leave the key out for the published ones")
        if self.weights in ("imagenet", "hub") and self.weights != published:
            raise ValueError(f"{self.name} has no weights: {self.weights}; leave the key out for the published ones")
        if self.id in RESERVED:
            raise ValueError(f"{self.id} is another folder in the results folder: give this encoder another `id`")
        if self.seed and self.weights != "random":
            raise ValueError("seed has no effect without weights: random")
        return self
