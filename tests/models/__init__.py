from typing import get_args

from roformermil.config import ModelName

MODELS = tuple(name for name in get_args(ModelName) if name != "mean-linear")  # has no layers: training/test_linear.py
POSITIONS = [("ro-abmil", {"position": p}) for p in ("alibi", "sine")] + [("ro-dsmil", {"position": "none"})]
