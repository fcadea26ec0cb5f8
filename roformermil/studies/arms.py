"""The arms of an ablation: models that differ from one RoFormer model in one thing each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from roformermil.config import Config, Model
from roformermil.errors import ConfigError


@dataclass(frozen=True)
class Arm:
    """One value on one axis, and the model that has it."""

    axis: str  # position, scale, layers, capacity
    name: str
    model: Model


def arms(config: Config) -> list[Arm]:
    """All arms, none where there is no model to vary. An arm that `models` has already is that model.

    Raises ConfigError when the model to vary has the name of another.
    """
    base = base_model(config)
    if base is None:
        return []
    if any(model.id == base.id and model != base for model in config.models):
        raise ConfigError(f"ablation.model: `models` has another {base.id}; give this one a label of its own")
    known = {_unlabelled(model): model for model in config.models}
    made = []
    for axis, name, changes in _variants(config, base):
        values = base.model_dump(exclude={"label"}) | changes
        bare = Model(**values)
        label = f"{base.id}.{axis}-{re.sub('[^A-Za-z0-9.]+', '-', name)}"
        model = base if bare == _unlabelled(base) else known.get(bare, Model(**values, label=label))
        made.append(Arm(axis, name, model))
    return made


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
        yield "layers", f"{layers}", {"layers": layers}
    if settings.capacity:
        head = base.name.removeprefix("ro-")
        yield "capacity", "with RoFormer", {}
        yield "capacity", "plain, as large", {"name": head, "position": "none", **plain}
        yield "capacity", "head alone", {"name": head, "position": "none", "layers": 0, **plain}


def _unlabelled(model: Model) -> Model:
    return Model(**model.model_dump(exclude={"label"}))
