"""Heads by name: the vectors of a bag's tiles -> logits.

head(x, grid, lengths), x: (T, D), returns logits (B, C), attention (T, C) and instance logits (T, C) or None.
head.contributions(x, grid, lengths) returns what each tile adds to each logit, (T, C): summed over a bag's tiles, its
logits without the biases. It returns None for TransMIL, which is not linear in the tiles.

What a head pools and classifies is computed in its parameters' type under autocast too: in bfloat16 the logits of similar
slides would be equal, and these ties would reach AUROC and the choice of the best epoch.
"""

from collections.abc import Callable
from typing import Any

from roformermil.config import Model
from roformermil.models.heads.abmil import ABMILHead
from roformermil.models.heads.dsmil import DSMILHead
from roformermil.models.heads.pooling import GatedABMILHead, MaxHead, MeanHead
from roformermil.models.transmil import TransMILHead

# a model's name without "ro-" -> its head, from the model's settings and the number of classes
HEADS: dict[str, Callable[[Model, int], Any]] = {
    "abmil": lambda s, classes: ABMILHead(s.hidden_dim, classes, s.attention_dim, s.num_heads, s.dropout),
    "dsmil": lambda s, classes: DSMILHead(s.hidden_dim, classes, s.dropout),
    "gated-abmil": lambda s, classes: GatedABMILHead(s.hidden_dim, classes, s.attention_dim, s.dropout),
    "mean": lambda s, classes: MeanHead(s.hidden_dim, classes, s.dropout),
    "max": lambda s, classes: MaxHead(s.hidden_dim, classes, s.dropout),
    "transmil": lambda s, classes: TransMILHead(s.hidden_dim, classes, s.num_heads, s.num_layers, s.dropout),
}
