"""The configuration described for others: JSON schema and reference, both written from `roformermil.config`."""

import json

from roformermil.config import Config


def schema() -> str:
    """JSON schema of the configuration, for editors and for readers of other languages."""
    return json.dumps(Config.model_json_schema(), indent=2) + "\n"


def reference() -> str:
    """Every key, its default and its meaning as Markdown tables, from the schema."""
    tree = Config.model_json_schema()
    lines = [
        "# Configuration reference",
        "",
        "Written by `roformermil schema --markdown` from `roformermil/config/`.",
        "",
    ]
    for title, section in {"(top level)": tree, **tree["$defs"]}.items():
        lines += [
            f"## {title}",
            "",
            section["description"].replace("\n", " "),
            "",
            "| key | default | meaning |",
            "|---|---|---|",
        ]
        for key, value in section["properties"].items():
            default = "required" if key in section.get("required", ()) else f"`{json.dumps(value.get('default'))}`"
            if "$ref" in value or isinstance(value.get("default"), dict):
                default = "see below"
            meaning = value.get("description", "").replace("\n", " ").replace("|", "\\|")
            lines.append(f"| `{key}` | {default} | {meaning} |")
        lines.append("")
    return "\n".join(lines)
