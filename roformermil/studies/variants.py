"""The variants of an ablation: one RoFormer model and its training, with one thing changed in each."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from roformermil.config import Config, Model, Training
from roformermil.config.model import RopeFrequencies
from roformermil.errors import ConfigError

BASE = "base"


@dataclass(frozen=True)
class Variant:
    """One value on one axis, and the model and training that have it."""

    axis: str  # position, scale, locality, layers, capacity, augmentation, normalization; BASE for the varied model itself
    name: str
    model: Model
    training: Training


def list_variants(config: Config) -> list[Variant]:
    """The varied model itself, under BASE, then all variants; empty where there is no model to vary.

    Variants with equal settings share one model, also with those that `models` lists. Raises ConfigError when models with
    different settings would share an id.
    """
    base = base_model(config)
    if base is None:
        return []
    listed = [(model, config.training) for model in config.models]
    known = {(_without_id(model), training): model for model, training in [*listed, (base, config.training)]}
    variants = [Variant(BASE, base.id, base, config.training)]  # whatever the axes are: the others are compared with it
    for axis, name, of_model, of_training in _changes(config, base):
        id = f"{base.id}.{axis}-{re.sub('[^A-Za-z0-9.]+', '-', name)}"
        values = base.model_dump() | of_model | {"id": id}
        if values["position"] != "rope":
            values = {key: value for key, value in values.items() if not key.startswith("rope_")}
        model = Model(**values)
        training = config.training.model_copy(update=of_training)
        variants.append(Variant(axis, name, known.setdefault((_without_id(model), training), model), training))
    by_id: dict[str, tuple[Model, Training]] = {}
    for model, training in [*listed, *((variant.model, variant.training) for variant in variants)]:
        if by_id.setdefault(model.id, (model, training)) != (model, training):
            raise ConfigError(f"ablation: two different models have the id {model.id}; give one of them another `id`")
    return variants


def variants_json(variants: list[Variant]) -> str:
    """The variants as `ablation --variants` takes them, JSON of [axis, name, model's id]; ConfigError without any."""
    if all(variant.axis == BASE for variant in variants):
        raise ConfigError(
            "nothing to compare: `models` needs a ro-abmil or ro-dsmil with position: rope (or name one as "
            "`ablation: {model: ro-abmil}`), and ablation.positions, scales, localities, layers, capacity, augmentations or normalizations needs a value"
        )
    return json.dumps([(variant.axis, variant.name, variant.model.id) for variant in variants])


def base_model(config: Config) -> Model | None:
    """The model to vary: the configured one, or the first of `models` with rotary encoding."""
    return config.ablation.model or next((model for model in config.models if model.position == "rope"), None)


def _without_id(model: Model) -> Model:
    return Model(**model.model_dump(exclude={"id"}))


def _changes(config: Config, base: Model) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """Each variant's axis, its name, and the settings in which it differs from `base` and from `config.training`."""
    for axis, name, changes in _model_changes(config, base):
        yield axis, name, changes, {}
    for moves in config.ablation.augmentations:
        yield "augmentation", moves, {}, {"augment_grid": moves}
    for normalization in config.ablation.normalizations:
        yield "normalization", normalization, {}, {"normalize": normalization}


def _model_changes(config: Config, base: Model) -> Iterator[tuple[str, str, dict[str, Any]]]:
    settings = config.ablation
    for position in settings.positions:
        if position in get_args(RopeFrequencies):
            yield "position", f"rope {position}", {"position": "rope", "rope_frequencies": position}
        else:
            yield "position", position, {"position": position}
    for scale in settings.scales:
        yield "scale", f"{scale:g}", {"rope_scale": scale}
    for locality in settings.localities:
        yield "locality", f"{locality:g}", {"rope_locality": locality}
    for layers in settings.layers:
        yield "layers", f"{layers}", {"num_layers": layers}
    if settings.capacity:
        plain = {"name": base.name.removeprefix("ro-"), "position": "none"}
        yield "capacity", "with RoFormer", {}
        yield "capacity", "plain, as large", plain
        yield "capacity", "head alone", plain | {"num_layers": 0}
