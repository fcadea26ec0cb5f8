"""Revisions of what each stage computes, part of the rules' params: what changed is computed anew, with what depends on it.

Costly stages have a number, raised by hand when a stage's result changes for equal settings; it is part of the results'
fingerprints too. Leaves of the workflow, which take seconds, follow the source they are made with.
"""

import ast
from hashlib import sha256
from pathlib import Path

SEGMENT = 4
TILE = 2
EMBED = 2
IMPORT = 1
SPLIT = 2
TRAIN = 2
MEASURE = 1


def of_source(module: str) -> str:
    """Digest of a module of the package (`evaluation/tables`) and of all modules of it that this one imports, however deep;
    not of the config's, whose values are params of their own."""
    files = sorted(_imported(Path(__file__).parent / f"{module}.py", set()))
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _imported(file: Path, seen: set[Path]) -> set[Path]:
    if file not in seen:
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "roformermil":
                name = Path(__file__).parent.joinpath(*str(node.module).split(".")[1:])
                if name.name == "config" or name.parent.name == "config":
                    continue
                own = name / "__init__.py" if name.is_dir() else name.with_suffix(".py")
                parts = [name / f"{part.name}.py" for part in node.names] if name.is_dir() else []
                for found in [own, *filter(Path.exists, parts)]:
                    _imported(found, seen)
    return seen
