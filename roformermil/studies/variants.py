"""The arms of an ablation: models that differ from one RoFormer model in one thing each."""

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

    axis: str  # position, scale, layers, capacity
    name: str
    model: Model


def list_variants(config: Config) -> list[Variant]:
    """The varied model itself, under no axis, then all arms; none where there is no model to vary.

    Arms of equal settings, among them those that `models` has already, are one model. Raises ConfigError when different
    models would have one name.
    """
    base = base_model(config)
    if base is None:
        return []
    known = {_unlabelled(model): model for model in config.models} | {_unlabelled(base): base}
    made = [Variant("", "", base)]  # trained whatever the axes are: the others are compared with it
    for axis, name, changes in _variants(config, base):
        values = base.model_dump(exclude={"id"}) | changes
        bare = Model(**values)
        label = f"{base.id}.{axis}-{re.sub('[^A-Za-z0-9.]+', '-', name)}"
        made.append(Variant(axis, name, known.setdefault(bare, Model(**values, id=label))))
    _check_names([*config.models, *(arm.model for arm in made)])
    return made


def _check_names(models: list[Model]) -> None:
    """Raises ConfigError where two models would share a folder of results."""
    named: dict[str, Model] = {}
    for model in models:
        if named.setdefault(model.id, model) != model:
            raise ConfigError(f"ablation: two models are named {model.id}; give one of them a `label` of its own")


def variants_json(made: list[Variant]) -> str:
    """The arms of a table, as the command line takes them: a JSON list of [axis, name, model's id].

    Raises ConfigError where there is nothing to compare.
    """
    named = [(arm.axis, arm.name, arm.model.id) for arm in made if arm.axis]
    if not named:
        raise ConfigError(
            "nothing to compare: `models` needs a ro-abmil or ro-dsmil with position: rope (or name one as "
            "`ablation: {model: ro-abmil}`), and one of ablation.positions, scales, layers and capacity a value"
        )
    return json.dumps(named)


def base_model(config: Config) -> Model | None:
    """The model to vary: the configured one, or the first of `models` with RoFormer layers and rotary encoding."""
    if config.ablation.model:
        return config.ablation.model
    return next((model for model in config.models if model.position == "rope"), None)


def _variants(config: Config, base: Model) -> Iterator[tuple[str, str, dict[str, Any]]]:
    settings = config.ablation
    plain = {"rope_frequencies": "pixel", "rope_scale": 1.0}  # what says nothing without rope
    for position in settings.positions:
        if position in ("pixel", "lang"):
            yield "position", f"rope {position}", {"position": "rope", "rope_frequencies": position}
        else:
            yield "position", position, {"position": position, **plain}
    for scale in settings.scales:
        yield "scale", f"{scale:g}", {"rope_scale": scale}
    for layers in settings.layers:
        yield "layers", f"{layers}", {"num_layers": layers}
    if settings.capacity:
        head = base.name.removeprefix("ro-")
        yield "capacity", "with RoFormer", {}
        yield "capacity", "plain, as large", {"name": head, "position": "none", **plain}
        yield "capacity", "head alone", {"name": head, "position": "none", "num_layers": 0, **plain}


def _unlabelled(model: Model) -> Model:
    return Model(**model.model_dump(exclude={"id"}))
