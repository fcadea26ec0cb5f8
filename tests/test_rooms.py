"""The order of the package's rooms: data flows through them one way, and a module imports only from its own room or those before."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests import ROOT

ROOMS = ["errors", "runtime", "config", "tasks", "cohort", "slides", "features", "bags", "models"]
ROOMS += [
    "evaluation",
    "training",
    "report",
    "deployment",
    "studies",
    "check",
    "project",
    "viewer",
    "cli",
]  # in their order
LOOSE = {"__init__", "__main__", "errors"}  # the modules outside folders
PACKAGE = ROOT / "roformermil"
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}


def imported_modules(path: Path) -> set[str]:
    """The modules of this package that a module imports, inside functions and for type checkers too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            full_names = {f"{node.module}.{name.name}" for name in node.names}
            modules |= {name if name in MODULES else str(node.module) for name in full_names}
    return {name for name in modules if name.split(".")[0] == "roformermil"}


def room(module: str) -> str:
    return module.split(".")[1]


def test_every_module_is_in_a_known_room_and_no_other_is_loose():
    assert {path.stem for path in PACKAGE.glob("*.py")} == LOOSE
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS) - LOOSE
    assert all((folder / "__init__.py").is_file() for folder in map(PACKAGE.joinpath, folders))


def test_contributing_lists_the_rooms_in_their_order():
    listed = re.findall(r"^\| `(\w+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert ["errors", *listed] == ROOMS


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("roformermil", "roformermil.__main__")])
def test_a_module_imports_only_from_its_own_room_and_those_before(module):
    allowed = ROOMS[: ROOMS.index(room(module)) + 1]
    imported = imported_modules(MODULES[module]) - {"roformermil"}
    wrong = sorted(name for name in imported if room(name) not in allowed)
    assert not wrong, f"{module} imports {', '.join(wrong)}: a room after {room(module)}"


def test_the_package_itself_gives_its_modules_nothing_but_the_version():
    for module, path in MODULES.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {name.name for node in nodes if node.module == "roformermil" for name in node.names}
        assert {name for name in names if f"roformermil.{name}" not in MODULES} <= {"__version__"}, module


def test_no_modules_import_each_other():
    graph = {module: imported_modules(path) - {module, "roformermil"} for module, path in MODULES.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules
