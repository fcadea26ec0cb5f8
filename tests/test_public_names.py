"""The public names: imported on first use, complete, and enough for the documentation's Python."""

import ast
import json
import re
import subprocess
import sys
from importlib import import_module

import pytest

import roformermil
from tests import ROOT

NAMES = """
BagDataset PackagedModel Prediction RoFormerMILError SlideFeatures TrainedModel __version__ build_model load_config load_model
load_packaged_model load_reference_parameters pack predict read_folds read_store to_anndata to_spatialdata
"""


def test_importing_the_package_imports_no_library():
    code = "import sys; before = set(sys.modules); import roformermil; print(sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in ast.literal_eval(result.stdout)}
    assert imported - sys.stdlib_module_names == {"roformermil"}


def test_every_public_name_can_be_imported_and_is_listed():
    assert sorted(roformermil.__all__) == NAMES.split()
    assert set(roformermil.__all__) <= set(dir(roformermil))
    for name, module in roformermil._MODULES.items():
        assert getattr(roformermil, name) is getattr(import_module(f"roformermil.{module}"), name)
    with pytest.raises(ImportError, match="cannot import name 'load_ensemble'"):
        from roformermil import load_ensemble  # noqa: F401


def test_editors_see_the_same_names_from_the_same_modules():
    source = ast.parse((ROOT / "roformermil/__init__.py").read_text())
    (block,) = [node for node in source.body if isinstance(node, ast.If)]
    shown = {name.name: node.module for node in block.body for name in node.names}
    assert shown == {name: f"roformermil.{module}" for name, module in roformermil._MODULES.items()}


def test_the_documentation_uses_public_names_only():
    cells = json.loads((ROOT / "docs/tutorial.ipynb").read_text())["cells"]
    tutorial = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    page = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.DOTALL)
    for blocks in (tutorial, page):
        imports = [node for node in ast.walk(ast.parse("\n".join(blocks))) if isinstance(node, ast.ImportFrom)]
        own = [node for node in imports if str(node.module).startswith("roformermil")]
        assert own and {node.module for node in own} == {"roformermil"}
        assert {name.name for node in own for name in node.names} <= set(NAMES.split())
