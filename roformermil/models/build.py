"""A whole model: input projection, blocks, head."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from roformermil.config import Model
from roformermil.config.base import read_settings
from roformermil.errors import BagError, ConfigError
from roformermil.models.heads.abmil import ABMILHead
from roformermil.models.heads.dsmil import DSMILHead
from roformermil.models.heads.gated_abmil import GatedABMILHead
from roformermil.models.heads.max import MaxHead
from roformermil.models.heads.mean import MeanHead
from roformermil.models.roformer import FeedForwardBlock, RoFormerBlock
from roformermil.models.rope import RotaryEncoding, sine_encoding
from roformermil.models.transmil import TransMILHead


class ModelOutput(NamedTuple):
    """What a model says of a packed batch."""

    logits: Tensor  # (B, C)
    attention: Tensor  # (T, C), sums to 1 over each bag's tiles
    instance_logits: Tensor | None  # (T, C), DSMIL only


class MILModel(nn.Module):
    """A multiple-instance classifier over packed bags (paper, figure 1).

    With `checkpointing` set, training keeps no activations of blocks and head and computes them again in the backward
    pass: less memory, more time, the same numbers.
    """

    def __init__(self, settings: Model, in_dim: int, n_classes: int):
        super().__init__()
        self.settings, self.in_dim, self.checkpointing = settings, in_dim, False
        self.project = nn.Linear(in_dim, settings.hidden_dim)
        blocks = 0 if settings.name == "transmil" else settings.num_layers  # TransMIL's are inside its head
        self.blocks = nn.ModuleList(_block(settings) for _ in range(blocks))
        self.head = _head(settings, n_classes)

    def forward(self, features: Tensor, grid: Tensor, lengths: list[int]) -> ModelOutput:
        """features: (T, F) of any float type; grid: (T, 2) integer tile positions; lengths: tiles of each of the B bags.

        Raises BagError when the shapes do not fit together.
        """
        x = self._tiles(features, grid, lengths)  # (T, D)
        places = (grid,) if isinstance(self.head, TransMILHead) else ()
        return ModelOutput(*self._run(self.head, x, *places, lengths))

    def contributions(self, features: Tensor, grid: Tensor, lengths: list[int]) -> Tensor | None:
        """What each tile, as the blocks left it, adds to each logit: (T, C). A bag's sum to its logits without the head's
        biases. None for TransMIL, whose class token meets the tiles in layers that are not linear.
        """
        return self.explained(features, grid, lengths)[1]

    def explained(self, features: Tensor, grid: Tensor, lengths: list[int]) -> tuple[ModelOutput, Tensor | None]:
        """What `forward` and `contributions` say, the blocks run once."""
        x = self._tiles(features, grid, lengths)  # (T, D)
        if isinstance(self.head, TransMILHead):
            return ModelOutput(*self.head(x, grid, lengths)), None
        head: Any = self.head
        return ModelOutput(*head(x, lengths)), head.contributions(x, lengths)

    def _tiles(self, features: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        """The tiles' vectors that the head is given."""
        if (
            features.shape != (len(grid), self.in_dim)
            or grid.shape != (len(grid), 2)
            or sum(lengths) != len(grid)
            or min(lengths, default=0) < 1
        ):
            raise BagError(
                f"features {tuple(features.shape)}, grid {tuple(grid.shape)} and lengths {lengths} do not fit "
                f"(T, {self.in_dim}), (T, 2) and tiles a bag, each at least 1, of sum T"
            )
        x = self.project(features.to(self.project.weight.dtype))  # (T, D)
        if self.settings.position == "sine":
            x = x + sine_encoding(grid, x.shape[1]).to(x.dtype)
        for block in self.blocks:
            x = self._run(block, x, grid, lengths)  # (T, D)
        return x

    def _run(self, part: nn.Module, *inputs: Any) -> Any:
        if self.checkpointing and self.training:
            return checkpoint(part, *inputs, use_reentrant=False)
        return part(*inputs)


def _block(settings: Model) -> nn.Module:
    dim, heads, dropout = settings.hidden_dim, settings.num_heads, settings.dropout
    if not settings.is_roformer:
        return FeedForwardBlock(dim, dropout)
    rope = None
    if settings.position == "rope":
        rope = RotaryEncoding(dim // heads, settings.rope_frequencies, settings.rope_scale)
    return RoFormerBlock(dim, heads, dropout, rope, alibi=settings.position == "alibi")


def _head(settings: Model, classes: int) -> nn.Module:
    dim, heads, dropout = settings.hidden_dim, settings.num_heads, settings.dropout
    match settings.name:
        case "abmil" | "ro-abmil":
            return ABMILHead(dim, classes, settings.attention_dim, heads, dropout)
        case "dsmil" | "ro-dsmil":
            return DSMILHead(dim, classes, dropout)
        case "gated-abmil":
            return GatedABMILHead(dim, classes, settings.attention_dim, dropout)
        case "mean":
            return MeanHead(dim, classes, dropout)
        case "max":
            return MaxHead(dim, classes, dropout)
        case "transmil":
            return TransMILHead(dim, classes, heads, settings.num_layers, dropout)


def build_model(settings: Model | Mapping[str, Any] | str, in_dim: int, n_classes: int) -> MILModel:
    """A model with fresh weights from torch's current seed. `settings` as in the config (a mapping, or a name alone), the paper's
    values by default.

    Raises ConfigError for settings that do not exist or do not go together.
    """
    if n_classes < 2:
        raise ConfigError(f"n_classes: {n_classes}; a classifier needs 2 or more")
    if isinstance(settings, str):
        settings = {"name": settings}
    if not isinstance(settings, Model):
        settings = read_settings(Model, dict(settings), "model")
    return MILModel(settings, in_dim, n_classes)


def parameter_count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def mil_loss(out: ModelOutput, labels: Tensor, lengths: list[int]) -> Tensor:
    """Cross-entropy of the bags; for DSMIL its mean with that of the highest instance scores (arXiv 2011.08939)."""
    loss = nn.functional.cross_entropy(out.logits, labels)
    if out.instance_logits is None:
        return loss
    highest = torch.stack([s.amax(dim=0) for s in out.instance_logits.split(lengths)])  # (B, C)
    return (loss + nn.functional.cross_entropy(highest, labels)) / 2
