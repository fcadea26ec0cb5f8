"""How settings are read: the base class of all sections, errors that name the key, JSON for the command line."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from roformermil.errors import ConfigError


class Settings(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    runtime_only: ClassVar[frozenset[str]] = frozenset()  # keys that change how a result is computed, not the result

    def deciding_values(self) -> dict[str, Any]:
        """The settings that decide a result, as plain values."""
        return self.model_dump(mode="json", exclude=set(self.runtime_only))


S = TypeVar("S", bound=Settings)
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # becomes a folder's name


def read_settings(section: type[S], values: Any, where: str = "config") -> S:
    """Validate `values` (a mapping, or its YAML or JSON text) as `section`.

    Raises ConfigError that names every bad key, what was expected and what was given.
    """
    if isinstance(values, str):
        try:
            values = yaml.safe_load(values)
        except yaml.YAMLError as error:
            raise ConfigError(f"{where}: not YAML: {error}") from error
        if isinstance(values, str):
            raise ConfigError(f"{where}: {values!r} has no keys; write it as '{{key: value}}', a space after the colon")
    try:
        return section.model_validate({} if values is None else values)
    except ValidationError as error:
        # a default that is derived from a key with an error of its own is no second problem
        problems = [_problem(section, e) for e in error.errors() if e["type"] != "default_factory_not_called"]
        raise ConfigError("\n".join(f"{where}: {p}" for p in problems)) from error


def to_json(settings: Settings) -> str:
    """The settings as one line of JSON, which `read_settings` reads back: how rules hand them to the command line."""
    return json.dumps(settings.model_dump(mode="json"), separators=(",", ":"))


def _problem(section: type[Settings], error: Any) -> str:
    parts = (str(part + 1) if isinstance(part, int) else part for part in error["loc"])  # lists count from 1
    key = ".".join(parts) or "(top level)"
    if error["type"] == "extra_forbidden":
        known = _keys_beside(section, error["loc"])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(sorted(known))}"
        return f"{key}: unknown key; {hint}"
    if error["type"] == "missing":
        return f"{key}: is missing"
    if error["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        close = difflib.get_close_matches(str(error["input"]), known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        return f"{key}: {error['input']!r} is none of {', '.join(known)}{hint}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {error['input']!r})" if error["type"] != "value_error" else f"{key}: {message}"


def _keys_beside(section: type[Settings], location: tuple[str | int, ...]) -> list[str]:
    """Keys that could stand where the last part of `location` stands."""
    current = section
    for part in location[:-1]:
        if (field := current.model_fields.get(str(part))) is None:
            continue  # a list's index or a data set's name: `current` is already the element's type
        current = next(_sections(field.annotation), current)
    return list(current.model_fields)


def _sections(annotation: Any) -> Iterator[type[Settings]]:
    """The sections that a type speaks of: itself, or inside `list[...]`, `dict[...]`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
