"""Loads the scripts that write slide sheets."""

import importlib.util
from types import ModuleType

from tests import ROOT


def load_script(name: str) -> ModuleType:
    """The module of config/datasets/{name}.py, which is in no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"config/datasets/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
