import pytest

from roformermil.runtime import stage_versions
from roformermil.runtime.stage_versions import package_digest, source_digest

EMPTY = ("errors.py", "config/base.py", "evaluation/__init__.py", "evaluation/other.py", "report/__init__.py")
FILES = {
    **dict.fromkeys([*EMPTY, "report/templates/page.html.j2", "report/unused.py"], ""),
    "__init__.py": "from roformermil.evaluation.other import unrelated",
    "config/__init__.py": "from roformermil.config.base import Settings",
    "config/tiles.py": "from roformermil.config.base import Settings",
    "tasks/class_metrics.py": "import roformermil",
    "evaluation/tables.py": (
        "from roformermil.config import Tiles\nfrom roformermil.config.tiles import tile_px\n"
        "from roformermil.config.base import Settings\nfrom roformermil.report import pages"
    ),
    "report/pages.py": "def later():\n    from roformermil.tasks.class_metrics import auroc",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package; the digest of its module evaluation/tables is tested."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(stage_versions, "PACKAGE", tmp_path)
    monkeypatch.setattr(stage_versions, "HOW_SETTINGS_ARE_READ", tmp_path / "config/base.py")
    monkeypatch.setattr(stage_versions, "PUBLIC_NAMES", tmp_path / "__init__.py")
    return tmp_path


IMPORTED = {"evaluation/tables.py", "tasks/class_metrics.py", "report/__init__.py", "report/pages.py", "config/base.py"}


@pytest.mark.parametrize("name", FILES)
def test_the_digest_depends_on_exactly_what_a_module_imports_and_the_templates(package, name):
    """The values of settings are params of their own, so of config/ only base.py counts."""
    before = source_digest("evaluation/tables")
    with open(package / name, "a") as file:
        file.write("\n# changed")
    changes = source_digest("evaluation/tables") != before
    assert changes == (name in {*IMPORTED, "report/templates/page.html.j2"})


def test_the_paths_are_those_of_the_package():
    assert stage_versions.HOW_SETTINGS_ARE_READ.is_file()
    assert stage_versions.PUBLIC_NAMES.is_file() and (stage_versions.PACKAGE / "runtime/stage_versions.py").is_file()
    assert len(source_digest("runtime/stage_versions")) == 16


@pytest.mark.parametrize("name", [*FILES, "new.py"])
def test_the_digest_of_the_package_depends_on_every_module_and_template(package, name):
    before = package_digest()
    with open(package / name, "a") as file:
        file.write("\n# changed")
    assert package_digest() != before


def test_the_digest_of_the_package_depends_on_names_and_not_on_what_is_no_source(package):
    before = package_digest()
    for name in (".ipynb_checkpoints/x.py", "__pycache__/x.pyc", "notes.txt"):
        (package / name).parent.mkdir(exist_ok=True)
        (package / name).write_text("x")
    assert package_digest() == before
    (package / "report/unused.py").rename(package / "report/used.py")
    assert package_digest() != before
