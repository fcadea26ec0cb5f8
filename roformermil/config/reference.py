"""The configuration described for others: its JSON schema, and the page docs/reference.md."""

import json

from roformermil.config import Config
from roformermil.runtime.text import markdown_table


def config_schema() -> str:
    """JSON schema of the configuration, for editors and other languages."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


def config_reference() -> str:
    """Every key, its default and its meaning as Markdown tables."""
    schema = Config.model_json_schema()
    parts = ["# Configuration reference", "Written by `roformermil schema --markdown` from `roformermil/config/`."]
    for title, section in {"(top level)": schema, **schema["$defs"]}.items():
        required = section.get("required", ())
        rows = [
            (f"`{key}`", _default(value, key in required), value.get("description", "").replace("\n", " "))
            for key, value in section["properties"].items()
        ]
        table = markdown_table(["key", "default", "meaning"], rows)
        parts += [f"## {title}", section["description"].replace("\n", " "), table]
    return "\n\n".join(parts) + "\n"


def _default(value: dict, required: bool) -> str:
    if required:
        return "required"
    if "$ref" in value or (isinstance(value.get("default"), dict) and value["default"]):
        return "see below"
    return f"`{json.dumps(value['default'])}`" if "default" in value else "derived"
