"""The base class of all sections, and how settings are read: errors that name the key, JSON for the command line."""

import difflib
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from roformermil.errors import ConfigError


class Settings(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    runtime_only: ClassVar[frozenset[str]] = frozenset()  # keys that change how a result is computed, not the result

    def deciding_values(self) -> dict[str, Any]:
        """The settings that decide a result, as plain values."""
        return self.model_dump(mode="json", exclude=set(self.runtime_only))


S = TypeVar("S", bound=Settings)
T = TypeVar("T")
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # becomes a folder's name


def _distinct(values: list) -> list:
    if len({f"{value:g}" if isinstance(value, float) else value for value in values}) < len(values):
        raise ValueError("list each value once")
    return values


Distinct = Annotated[list[T], AfterValidator(_distinct)]  # floats that look alike in a name (`:g`) are duplicates


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
        # where a key is wrong, the defaults derived from it are not reported too
        problems = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
        raise ConfigError("\n".join(f"{where}: {_describe(section, e)}" for e in problems)) from error


def to_json(settings: Settings) -> str:
    """The settings as one line of JSON, which `read_settings` reads back: how rules hand them to the command line."""
    return json.dumps(settings.model_dump(mode="json"), separators=(",", ":"))


def _describe(section: type[Settings], error: Any) -> str:
    kind, given = error["type"], error["input"]
    parts = (str(part + 1) if isinstance(part, int) else part for part in error["loc"])  # lists count from 1
    key = ".".join(parts) or "(top level)"
    if kind == "extra_forbidden":
        known = _keys_beside(section, error["loc"])
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(sorted(known))}"
        return f"{key}: unknown key; {hint}"
    if kind == "missing":
        return f"{key}: is missing"
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        close = difflib.get_close_matches(str(given), known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else ""
        return f"{key}: {given!r} is none of {', '.join(known)}{hint}"
    if kind == "value_error":
        return f"{key}: {error['msg'].removeprefix('Value error, ')}"
    return f"{key}: {error['msg']} (got {given!r})"


def _keys_beside(section: type[Settings], location: tuple[str | int, ...]) -> list[str]:
    """The keys of the section that the last part of `location` was given in."""
    current = section
    for part in location[:-1]:
        if (field := current.model_fields.get(str(part))) is None:
            continue  # a list index or a data set's name: `current` is already the type of the element
        current = next(_sections(field.annotation), current)
    return list(current.model_fields)


def _sections(annotation: Any) -> Iterator[type[Settings]]:
    """The sections in a type: itself, or inside `list[...]`, `dict[...]`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
