"""Models: a packed batch of bags -> logits, attention, instance logits.

Shapes, in every file of this folder:

    B bags in a batch        T tiles of all bags, one bag after another; N tiles of one bag
    C classes                F width of the encoder's vectors (in_dim)
    D hidden_dim             H attention heads of width d
"""

from roformermil.models.build import MILModel, ModelOutput, build_model
from roformermil.models.released import load_reference_parameters

__all__ = ["MILModel", "ModelOutput", "build_model", "load_reference_parameters"]
