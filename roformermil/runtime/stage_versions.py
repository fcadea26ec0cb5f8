"""Versions of what each stage computes. They are params of the rules: what changed is computed again, with what depends on it.

Expensive stages have a number, raised by hand when a stage's result changes for equal settings; it is part of the results'
fingerprints too. Cheap ones, which take seconds, follow the source that they run.
"""

import ast
from hashlib import sha256
from pathlib import Path

SEGMENT = 6
TILE = 3
EMBED = 2
IMPORT = 3
SPLIT = 8
TRAIN = 7
EXTERNAL = 1
MEASURE = 1

PACKAGE = Path(__file__).parents[1]
HOW_SETTINGS_ARE_READ = PACKAGE / "config/base.py"
PUBLIC_NAMES = PACKAGE / "__init__.py"  # names every room, computes nothing
ONLY_IN_WHEELS = ("envs", "workflow")  # a checkout has them beside the package


def source_digest(module: str) -> str:
    """Digest of a module of the package (`evaluation/tables`) and of all modules of the package that it imports, directly or
    not, and of the templates beside them. Of `config/` only `base.py` counts: the settings' values are params of their own."""
    files = _imported_files(PACKAGE / f"{module}.py", set())
    templates = {template for file in files for template in (file.parent / "templates").glob("*.j2")}
    return sha256(b"".join(file.read_bytes() for file in sorted(files | templates))).hexdigest()[:16]


def package_digest() -> str:
    """Digest of the whole package as it is on disk now: its modules and templates, by name and content. A checkout and its
    wheel have the same."""
    digest = sha256()
    for file in sorted(file for pattern in ("*.py", "*.j2") for file in PACKAGE.rglob(pattern)):
        parts = file.relative_to(PACKAGE).parts
        if parts[0] not in ONLY_IN_WHEELS and not any(part.startswith(".") for part in parts):  # an editor's
            digest.update(f"{file.relative_to(PACKAGE).as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def _imported_files(file: Path, seen: set[Path]) -> set[Path]:
    if file in seen or file == PUBLIC_NAMES or (file.parent.name == "config" and file != HOW_SETTINGS_ARE_READ):
        return seen
    seen.add(file)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "roformermil":
            name = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            own = name / "__init__.py" if name.is_dir() else name.with_suffix(".py")
            submodules = [name / f"{part.name}.py" for part in node.names] if name.is_dir() else []
            for imported in [own, *filter(Path.exists, submodules)]:
                _imported_files(imported, seen)
    return seen
