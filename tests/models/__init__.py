from typing import get_args

from roformermil.config import ModelName
from roformermil.config.model import LINEAR

# LINEAR: training/test_linear.py and models/test_covariates.py are about these
MODELS = tuple(name for name in get_args(ModelName) if name not in LINEAR)
POSITIONS = [("ro-abmil", {"position": p}) for p in ("alibi", "sine")] + [("ro-dsmil", {"position": "none"})]
