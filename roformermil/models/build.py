"""A whole model: input projection, blocks, head."""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from roformermil.config import Model
from roformermil.config.base import read_settings
from roformermil.errors import BagError, ConfigError
from roformermil.models.heads import HEADS
from roformermil.models.heads.constant import ConstantHead
from roformermil.models.heads.pooling import MeanHead
from roformermil.models.normalization import Normalization
from roformermil.models.roformer import FeedForwardBlock, RoFormerBlock
from roformermil.models.rope import AxisRotaryEncoding, DirectedRotaryEncoding, RotaryEncoding, sine_encoding
from roformermil.tasks import CLASSIFICATION, Task


class ModelOutput(NamedTuple):
    """What a model returns for a packed batch."""

    logits: Tensor  # (B, C): of C classes, or the outputs of another task
    attention: Tensor  # (T, C), sums to 1 over each bag's tiles
    instance_logits: Tensor | None  # (T, C), DSMIL only


class MILModel(nn.Module):
    """A multiple-instance model of packed bags (paper, figure 1): logits of classes, or the outputs of another task.

    `normalization`, if set, is applied to the features first. With `checkpointing`, training keeps no activations of blocks
    and head but computes them again in the backward pass: less memory, more time, the same numbers. `mean-linear` and
    `covariates` have a head alone, whose parameters `training.linear` fits.

    Late fusion: a bag's covariates z (k,) add W z to its logits, with no bias of its own. That is the last linear layer applied to
    the pooled vector and z, one after the other. W is zero, so a new model with covariates is the one without and uses no random
    number more; `training.fit` begins with the regression of the covariates alone.
    """

    def __init__(self, settings: Model, in_dim: int, n_classes: int, covariates: int = 0):
        """covariates: their number k, for a model that uses them. Raises ConfigError where it has none."""
        super().__init__()
        if settings.uses_covariates and not covariates:
            raise ConfigError(f"{settings.id} uses covariates, but is given none: their number is needed")
        self.settings, self.in_dim, self.checkpointing = settings, in_dim, False
        self.normalization: Normalization | None = None
        self.project = nn.Identity() if settings.is_linear else nn.Linear(in_dim, settings.hidden_dim)
        self.blocks = nn.ModuleList(_blocks(settings))
        self.head: Any
        if not settings.uses_features:
            self.head = ConstantHead(n_classes)
        elif settings.is_linear:
            self.head = MeanHead(in_dim, n_classes, dropout=0.0)
        else:
            self.head = HEADS[settings.name.removeprefix("ro-")](settings, n_classes)
        self.fusion = nn.Parameter(torch.zeros(n_classes, covariates)) if settings.uses_covariates else None  # W (C, k)

    def forward(
        self,
        features: Tensor,
        grid: Tensor,
        lengths: list[int],
        slide_lengths: list[int] | None = None,
        covariates: Tensor | None = None,
    ) -> ModelOutput:
        """features: (T, F) of any float type; grid: (T, 2) tile positions, integers or, as in training with a turned grid, floats; lengths: tiles of each of the B bags.

        slide_lengths: tiles of each slide, T in sum, where bags have several: tiles attend only to those of their slide, and
        the head pools those of all slides. covariates: (B, k), for a model that uses them. Raises BagError when the shapes do not
        fit together, and for TransMIL with several slides in a bag.
        """
        x = self._embed(features, grid, lengths, slide_lengths)  # (T, D)
        return self._fuse(ModelOutput(*self._run(self.head, x, grid, lengths)), covariates)

    def forward_with_contributions(
        self,
        features: Tensor,
        grid: Tensor,
        lengths: list[int],
        slide_lengths: list[int] | None = None,
        covariates: Tensor | None = None,
    ) -> tuple[ModelOutput, Tensor | None]:
        """The output of `forward`, and what each tile's vector after the blocks adds to each logit: (T, C).

        A bag's contributions sum to its logits without the head's biases and what covariates add. None for TransMIL, which is not
        linear in the tiles.
        """
        x = self._embed(features, grid, lengths, slide_lengths)  # (T, D)
        out = self._fuse(ModelOutput(*self.head(x, grid, lengths)), covariates)
        return out, self.head.contributions(x, grid, lengths)

    def _fuse(self, out: ModelOutput, covariates: Tensor | None) -> ModelOutput:
        """The output with what covariates add to the logits."""
        if self.fusion is None:
            return out
        wanted = (len(out.logits), self.fusion.shape[1])
        if covariates is None or covariates.shape != wanted:
            given = "none" if covariates is None else tuple(covariates.shape)
            raise BagError(f"{self.settings.id} needs covariates of shape {wanted}, but is given {given}")
        with torch.autocast(out.logits.device.type, enabled=False):
            return out._replace(logits=out.logits + covariates.to(self.fusion.dtype) @ self.fusion.T)  # (B, C)

    def _embed(
        self, features: Tensor, grid: Tensor, lengths: list[int], slide_lengths: list[int] | None = None
    ) -> Tensor:
        """The tiles' vectors after the blocks, (T, D)."""
        tiles = len(grid)
        shapes_fit = features.shape == (tiles, self.in_dim) and grid.shape == (tiles, 2)
        if not shapes_fit or sum(lengths) != tiles or min(lengths, default=0) < 1:
            given = f"features {tuple(features.shape)}, grid {tuple(grid.shape)} and lengths {lengths}"
            needed = f"(T, {self.in_dim}), (T, 2) and the number of tiles of each bag, at least 1 and T in sum,"
            raise BagError(f"{given} do not fit together: {needed} are needed")
        slide_lengths = self._check_slides(lengths, slide_lengths)
        weights = next(self.head.parameters()).dtype
        dtype = weights if self.settings.is_linear else _product_type(features.device, weights)
        x = self.normalization(features, dtype) if self.normalization else features.to(dtype)  # (T, F)
        x = self.project(x)  # (T, D)
        if self.settings.position == "sine":
            x = x + sine_encoding(grid, x.shape[1]).to(x.dtype)
        for block in self.blocks:
            x = self._run(block, x, grid, slide_lengths)  # (T, D)
        return x

    def _check_slides(self, lengths: list[int], slide_lengths: list[int] | None) -> list[int]:
        """The tiles of each slide, by default of each bag."""
        if slide_lengths is None or slide_lengths == lengths:
            return lengths
        if min(slide_lengths, default=0) < 1 or not set(accumulate(lengths)) <= set(accumulate(slide_lengths)):
            raise BagError(
                f"bags of {lengths} tiles do not consist of slides of {slide_lengths} tiles, at least 1 each"
            )
        if not self.settings.joins_slides:
            raise BagError(f"{self.settings.name} lays a bag's tiles out on one grid: its bags have one slide each")
        return slide_lengths

    def _run(self, part: nn.Module, *inputs: Any) -> Any:
        recompute = self.checkpointing and self.training
        return checkpoint(part, *inputs, use_reentrant=False) if recompute else part(*inputs)


def _product_type(device: torch.device, weights: torch.dtype) -> torch.dtype:
    """The type in which a linear layer with weights of this type computes: under autocast its own, except float64."""
    autocast = device.type != "meta" and torch.is_autocast_enabled(device.type) and weights != torch.float64
    return torch.get_autocast_dtype(device.type) if autocast else weights


def _blocks(settings: Model) -> list[nn.Module]:
    dim, heads, dropout = settings.hidden_dim, settings.num_heads, settings.dropout
    if settings.is_linear or settings.name == "transmil":
        return []  # of TransMIL, they are in its head
    if not settings.is_roformer:
        return [FeedForwardBlock(dim, dropout) for _ in range(settings.num_layers)]
    return [
        RoFormerBlock(
            dim, heads, dropout, _rotary_encoding(settings), settings.position == "alibi", settings.rope_locality
        )
        for _ in range(settings.num_layers)
    ]


def _rotary_encoding(settings: Model) -> RotaryEncoding | None:
    head_dim = settings.hidden_dim // settings.num_heads
    if settings.position != "rope":
        return None
    if settings.rope_frequencies in ("isotropic", "learned"):
        learned = settings.rope_frequencies == "learned"
        return DirectedRotaryEncoding(head_dim, settings.num_heads, settings.rope_scale, learned)
    return AxisRotaryEncoding(head_dim, settings.rope_frequencies, settings.rope_scale)


def build_model(
    settings: Model | Mapping[str, Any] | str, in_dim: int, n_classes: int, covariates: int = 0
) -> MILModel:
    """A model with random weights, drawn from torch's current seed.

    settings: as in the configuration (a mapping, or a name alone); keys that are left out have the
    configuration's defaults, of which `rope_frequencies` and `rope_locality` are not the paper's; n_classes: of a task other than
    classification, its outputs; covariates: values per bag, for models that use them. Raises ConfigError for settings that do
    not exist or do not fit together.
    """
    if n_classes < 1:
        raise ConfigError(f"n_classes: {n_classes}; a model has one output or more, a classifier two")
    if not isinstance(settings, Model):
        mapping = {"name": settings} if isinstance(settings, str) else dict(settings)
        settings = read_settings(Model, mapping, "model")
    return MILModel(settings, in_dim, n_classes, covariates)


def parameter_count(model: nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def mil_loss(
    out: ModelOutput,
    targets: Tensor,
    lengths: list[int],
    class_weights: Tensor | None = None,
    task: Task = CLASSIFICATION,
) -> Tensor:
    """The task's loss of the bags' logits, by default cross-entropy; for DSMIL its mean with that of the highest instance logits
    (arXiv 2011.08939).

    targets: (B,) or (B, k), as the task's; class_weights: (C,) factors on a bag's loss by its class.
    """
    loss = _mean_loss(out.logits, targets, task, class_weights)
    if out.instance_logits is None:
        return loss
    highest = torch.stack([s.amax(dim=0) for s in out.instance_logits.split(lengths)])  # (B, C)
    return (loss + _mean_loss(highest, targets, task, class_weights)) / 2


def _mean_loss(logits: Tensor, targets: Tensor, task: Task, class_weights: Tensor | None) -> Tensor:
    """The mean over bags. Torch's own mean with weights divides by their sum, so that of one bag they would have no effect."""
    if class_weights is None:
        return task.mean_loss(logits, targets)
    return (task.loss(logits, targets) * class_weights[targets]).mean()
