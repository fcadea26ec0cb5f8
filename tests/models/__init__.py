from typing import get_args

from roformermil.config import ModelName

NO_LAYERS = {"mean-linear", "covariates"}  # training/test_linear.py and test_covariates.py are about these
MODELS = tuple(name for name in get_args(ModelName) if name not in NO_LAYERS)
POSITIONS = [("ro-abmil", {"position": p}) for p in ("alibi", "sine")] + [("ro-dsmil", {"position": "none"})]
