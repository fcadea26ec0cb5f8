from typing import get_args

from roformermil.config import ModelName

MODELS = get_args(ModelName)
POSITIONS = [("ro-abmil", {"position": p}) for p in ("alibi", "sine")] + [("ro-dsmil", {"position": "none"})]
