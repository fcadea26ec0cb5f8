"""RoFormerMIL: whole-slide image classification with position-aware multiple instance learning.

After Pochet, Maroun and Trullo, "RoFormer for Position Aware Multiple Instance Learning in Whole Slide
Image Classification", MLMI 2023, arXiv 2310.01924.

The public names are imported on first use, so that `import roformermil` does not import torch.
"""
# ruff: noqa: F401 (the imports are for editors and type checkers)

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names as in _NAMES
    from roformermil.bags.dataset import BagDataset, pack
    from roformermil.bags.folds import read_folds
    from roformermil.config import load_config
    from roformermil.deployment.predict import PackagedModel, load_packaged_model, predict
    from roformermil.errors import RoFormerMILError
    from roformermil.features.store import SlideFeatures, read_store
    from roformermil.features.to_anndata import to_anndata
    from roformermil.features.to_spatialdata import to_spatialdata
    from roformermil.models import build_model, load_reference_parameters
    from roformermil.models.inference import Prediction, TrainedModel, load_model

__version__ = "0.1.0"
_NAMES = {
    "bags.dataset": "BagDataset pack",
    "bags.folds": "read_folds",
    "config": "load_config",
    "deployment.predict": "PackagedModel load_packaged_model predict",
    "errors": "RoFormerMILError",
    "features.store": "SlideFeatures read_store",
    "features.to_anndata": "to_anndata",
    "features.to_spatialdata": "to_spatialdata",
    "models": "build_model load_reference_parameters",
    "models.inference": "Prediction TrainedModel load_model",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
