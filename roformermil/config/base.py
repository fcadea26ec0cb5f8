"""The base class of all sections, and how settings are read: errors that name the key, JSON for the command line."""

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from roformermil.errors import ConfigError


class Settings(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    runtime_only: ClassVar[frozenset[str]] = frozenset()  # keys that change how a result is computed, not the result

    @classmethod
    def explain_unknown(cls, key: str, value: Any) -> str:
        """What to write instead of a key that is not of this section, where that is known; else empty."""
        return ""

    def deciding_values(self) -> dict[str, Any]:
        """The settings that decide a result, as plain values."""
        return self.model_dump(mode="json", exclude=set(self.runtime_only))


S = TypeVar("S", bound=Settings)
T = TypeVar("T")
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # becomes a folder's name
NAME_RULE = "may only have letters A to Z, digits, '.', '_' and '-', and starts with a letter or digit: it names files"
UserText = Annotated[str, AfterValidator(os.path.expanduser)]  # `~` is the user's home, as in a shell
UserPath = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]


def _distinct(values: list) -> list:
    if len({f"{value:g}" if isinstance(value, float) else value for value in values}) < len(values):
        raise ValueError("list each value once")
    return values


Distinct = Annotated[list[T], AfterValidator(_distinct)]  # floats that look alike in a name (`:g`) are duplicates


class _Loader(yaml.SafeLoader):
    """YAML as usual, but a key that is given twice is an error: the second would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, key in enumerate(keys):
            if key.value in (other.value for other in keys[:number]):
                raise yaml.MarkedYAMLError(problem=f"duplicate key {key.value!r}", problem_mark=key.start_mark)
        return super().construct_mapping(node, deep)


def read_settings(section: type[S], values: Any, where: str = "config") -> S:
    """Validate `values` (a mapping, or its YAML or JSON text) as `section`.

    Raises ConfigError that names every bad key, what was expected and what was given.
    """
    if isinstance(values, str):
        values = parse_yaml(values, where)
        if isinstance(values, str):
            raise ConfigError(f"{where}: {values!r} has no keys; write it as '{{key: value}}', a space after the colon")
    values = {} if values is None else values
    try:
        return section.model_validate(values)
    except ValidationError as error:
        # where a key is wrong, the defaults derived from it are not reported too
        problems = [e for e in error.errors() if e["type"] != "default_factory_not_called"]
        raise ConfigError("\n".join(f"{where}: {_describe(section, values, e)}" for e in problems)) from error


def to_json(settings: Settings) -> str:
    """The settings as one line of JSON, which `read_settings` reads back: how rules hand them to the command line."""
    text = json.dumps(settings.model_dump(mode="json"), separators=(",", ":"))
    return re.sub(r"\{(?=[\s.\w])", r"\\u007b", text)  # in a path, Snakemake would take {name} for a wildcard


def parse_yaml(text: str, where: str) -> Any:
    """The values of a YAML or JSON text. Raises ConfigError that names `where`, line and column."""
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else ""
        raise ConfigError(f"{where}{place}: not valid YAML: {error.problem}{hint}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-02-31
        cause = str(error).splitlines()[0]
        raise ConfigError(f"{where}: not valid YAML: {cause}") from error


def _describe(section: type[Settings], values: Any, error: Any) -> str:
    kind, given = error["type"], error["input"]
    location = error["loc"]
    if kind == "invalid_key" or location[-1:] == ("[key]",):  # a key that is not text
        section_of_key = location[: -1 if kind == "invalid_key" else -2]
        return f"{_dotted(values, section_of_key)}: the key {_quote_it(given)}"
    key = _dotted(values, location)
    if kind == "extra_forbidden":
        section = _section_at(section, location)
        if explanation := section.explain_unknown(str(location[-1]), given):
            return f"{key}: {explanation}"
        known = list(section.model_fields)
        close = difflib.get_close_matches(str(location[-1]), known, n=1)
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
    if kind in ("string_type", "path_type") and not isinstance(given, list | dict):
        return f"{key}: {_quote_it(given)}"
    if kind == "string_pattern_mismatch":
        return f"{key}: {given!r} {NAME_RULE}" if given else f"{key}: is empty"
    if kind == "list_type" and isinstance(given, str | int | float | dict):
        items = list(map(str, given if isinstance(given, dict) else re.split(r"[\s,;]+", str(given).strip())))
        if location[-1] == "classes":  # where YAML would read them as numbers or truth values
            items = [item if isinstance(yaml.safe_load(item), str) else f'"{item}"' for item in items]
        return f"{key}: {given!r} is not a list; write [{', '.join(items)}]"
    if kind in ("model_type", "dict_type", "list_type"):
        if given is None:
            return f"{key}: is empty; give it a value, or remove the key for its default"
        return f"{key}: needs keys and values, as in {{key: value}} (got {given!r})"
    return f"{key}: {error['msg']} (got {given!r})"


def _dotted(values: Any, location: Sequence[str | int]) -> str:
    """A key as a person writes it: `models.1.name`. Entries of lists count from 1."""
    parts = []
    for part in location:
        if isinstance(part, str) and isinstance(values, list | str | int | float):
            continue  # the tag of one of several types that a value may have
        is_index = isinstance(part, int) and not isinstance(values, Mapping)
        parts.append(str(int(part) + 1 if is_index else part))
        values = values[part] if isinstance(values, Mapping) and part in values else None
    return ".".join(parts) or "(top level)"


def _quote_it(value: Any) -> str:
    """Why a value that YAML read as another type than text cannot be used, and what to write."""
    if value is None:
        return 'is empty or null: give it a value; the word null needs quotes: "null"'
    # not the text that was written: from YAML 012 comes 10, from 1_000 comes 1000, from no False
    kind = "date"
    if isinstance(value, bool):
        kind = "truth value (yes, no, on, off, true and false)"
    elif isinstance(value, int | float):
        kind = "number"
    return f'is read by YAML as the {kind} {value}, not as text: write it in quotes, as in ["0", "1"]'


def _section_at(section: type[Settings], location: tuple[str | int, ...]) -> type[Settings]:
    """The section that the last part of `location` was given in."""
    current = section
    for part in location[:-1]:
        if (field := current.model_fields.get(str(part))) is None:
            continue  # a list index or a data set's name: `current` is already the type of the element
        current = next(_sections(field.annotation), current)
    return current


def _sections(annotation: Any) -> Iterator[type[Settings]]:
    """The sections in a type: itself, or inside `list[...]`, `dict[...]`, `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
