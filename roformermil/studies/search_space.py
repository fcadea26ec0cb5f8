"""The settings that a search tries: those of a model as it is configured, and draws from `search.space`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roformermil.config import Config, Model, Training
from roformermil.config.base import read_settings, to_json
from roformermil.config.search import SUFFIX
from roformermil.errors import ConfigError

DEFAULT = "default"


@dataclass(frozen=True)
class Setting:
    """Values to try, and a model and its training that have them."""

    name: str  # DEFAULT, or as `learning_rate=0.001,dropout=0.5`: names a folder
    model: Model
    training: Training


def list_searches(config: Config) -> dict[str, dict[str, Setting]]:
    """The settings to try by name, for each id of a model that is searched; empty without a space. Raises ConfigError."""
    if not config.search.space:
        return {}
    if not config.search_models:
        raise ConfigError("search.space: no model of `models` has layers, so there is nothing to search: add one")
    searches = {model.id: list_settings(config, model) for model in config.search_models}
    return {model: {setting.name: setting for setting in settings} for model, settings in searches.items()}


def list_settings(config: Config, model: Model) -> list[Setting]:
    """What the `search.budget` trainings of a fold try: the model as it is configured, then settings of `search.space` in the order
    in which they are drawn. Those of a smaller budget come first. Raises ConfigError for values that their keys do not take."""
    if any(other.id == searched_id(model) for other in config.models):
        raise ConfigError(
            f"search: {searched_id(model)} is the id of what the search chooses; give that model another `id`"
        )
    space = config.search.space or {}
    shape = [len(values) for values in space.values()]
    first = Setting(DEFAULT, model, config.training)
    settings = {_values(first): first}  # equal ones are tried once
    for number in np.random.default_rng(config.search.seed).permutation(math.prod(shape)):
        if len(settings) == config.search.budget:
            break
        picked = zip(space.items(), np.unravel_index(number, shape), strict=True)
        setting = _change(first, {key: values[index] for (key, values), index in picked})
        settings.setdefault(_values(setting), setting)
    names = [setting.name for setting in settings.values()]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"search.space: two settings are both named {duplicates[0]}: leave one of their values out")
    return list(settings.values())


def check_searches(searches: Mapping[str, Any]) -> None:
    """Raises ConfigError where there is nothing to search."""
    if not searches:
        example = "search: {space: {learning_rate: [1.0e-4, 1.0e-3], dropout: [0.0, 0.25]}}"
        raise ConfigError(f"nothing to search: give search.space keys and values, as in `{example}`")


def searched_id(model: Model) -> str:
    """The id of a model whose folds are trained with the settings that were chosen in them."""
    return f"{model.id}{SUFFIX}"


def _values(setting: Setting) -> tuple[str, str]:
    return to_json(setting.model), to_json(setting.training)


def _change(setting: Setting, values: Mapping[str, Any]) -> Setting:
    """The setting with these values, validated, and named after them."""
    of_model, of_training = (
        {key: value for key, value in values.items() if key in section.model_fields} for section in (Model, Training)
    )
    described = setting.model.model_dump() | of_model
    if described["position"] != "rope":  # without it they would be refused
        described = {key: value for key, value in described.items() if not key.startswith("rope_")}
    where = f"search.space ({setting.model.id}, {_name(values)})"
    model = read_settings(Model, described, where)
    training = read_settings(Training, setting.training.model_dump() | of_training, where)
    known = {**dict(training), **dict(model)}
    return Setting(_name({key: known[key] for key in values}), model, training)


def _name(values: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={re.sub('[^A-Za-z0-9.+-]+', '-', str(value)).strip('-')}" for key, value in values.items())
