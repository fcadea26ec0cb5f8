"""The variants of an ablation: models that differ from one RoFormer model in one thing each."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from roformermil.config import Config, Model
from roformermil.errors import ConfigError


@dataclass(frozen=True)
class Variant:
    """One value on one axis, and the model that has it."""

    axis: str  # position, scale, layers, capacity; empty for the varied model itself
    name: str
    model: Model


def list_variants(config: Config) -> list[Variant]:
    """The varied model itself, under no axis, then all variants; empty where there is no model to vary.

    Variants with equal settings share one model, also with those that `models` lists. Raises ConfigError when different
    models would share an id.
    """
    base = base_model(config)
    if base is None:
        return []
    known = {Model(**model.model_dump(exclude={"id"})): model for model in [*config.models, base]}
    variants = [Variant("", "", base)]  # trained whatever the axes are: the others are compared with it
    for axis, name, changes in _changes(config, base):
        values = base.model_dump(exclude={"id"}) | changes
        id = f"{base.id}.{axis}-{re.sub('[^A-Za-z0-9.]+', '-', name)}"
        variants.append(Variant(axis, name, known.setdefault(Model(**values), Model(**values, id=id))))
    by_id: dict[str, Model] = {}
    for model in [*config.models, *(variant.model for variant in variants)]:
        if by_id.setdefault(model.id, model) != model:
            raise ConfigError(f"ablation: two different models have the id {model.id}; give one of them another `id`")
    return variants


def variants_json(variants: list[Variant]) -> str:
    """The variants as `ablation --variants` takes them, JSON of [axis, name, model's id]; ConfigError without any."""
    names = [(variant.axis, variant.name, variant.model.id) for variant in variants if variant.axis]
    if not names:
        raise ConfigError(
            "nothing to compare: `models` needs a ro-abmil or ro-dsmil with position: rope (or name one as "
            "`ablation: {model: ro-abmil}`), and ablation.positions, scales, layers or capacity needs a value"
        )
    return json.dumps(names)


def base_model(config: Config) -> Model | None:
    """The model to vary: the configured one, or the first of `models` with rotary encoding."""
    return config.ablation.model or next((model for model in config.models if model.position == "rope"), None)


def _changes(config: Config, base: Model) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each variant's axis, its name, and the settings in which it differs from `base`."""
    settings = config.ablation
    defaults = {"rope_frequencies": "pixel", "rope_scale": 1.0}  # required where they have no effect
    for position in settings.positions:
        if position in ("pixel", "lang"):
            yield "position", f"rope {position}", {"position": "rope", "rope_frequencies": position}
        else:
            yield "position", position, {"position": position, **defaults}
    for scale in settings.scales:
        yield "scale", f"{scale:g}", {"rope_scale": scale}
    for layers in settings.layers:
        yield "layers", f"{layers}", {"num_layers": layers}
    if settings.capacity:
        plain = {"name": base.name.removeprefix("ro-"), "position": "none", **defaults}
        yield "capacity", "with RoFormer", {}
        yield "capacity", "plain, as large", plain
        yield "capacity", "head alone", plain | {"num_layers": 0}
