"""Training of one fold."""

from typing import ClassVar, Literal

from pydantic import Field

from roformermil.config.base import Settings


class Training(Settings):
    """Training of one fold (paper, section 3.2)."""

    runtime_only: ClassVar = frozenset({"cache_gb", "readers", "tensorboard"})

    epochs: int = Field(50, ge=1)
    """At most this many passes over the training slides."""
    patience: int = Field(10, ge=1)
    """Stop after this many epochs without improvement of `monitor`."""
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's learning rate."""
    weight_decay: float = Field(1e-5, ge=0)
    """Adam's weight decay."""
    batch_size: int = Field(4, ge=1)
    """Slides per step."""
    scheduler_factor: float = Field(0.1, gt=0, lt=1)
    """Factor on the learning rate after more than `scheduler_patience` epochs without a better validation loss."""
    scheduler_patience: int = Field(5, ge=0)
    """See `scheduler_factor`."""
    monitor: Literal["loss", "auroc", "accuracy"] = "loss"
    """Validation metric that selects the best epoch. On few slides AUROC and accuracy take few values only."""
    seed: int = 1
    """Seed of initial weights, dropout and slide order; each fold derives its own from it, the same for all models."""
    max_tiles: int | None = Field(None, ge=1)
    """At most this many tiles of a slide in a training step, drawn again each epoch; evaluation uses whole slides."""
    checkpointing: bool = False
    """Recompute activations in the backward pass instead of keeping them: for slides that do not fit otherwise."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number type of the model; `auto` is bf16 on a GPU that has it and fp32 elsewhere. fp16 scales the loss."""
    cache_gb: float = Field(4.0, ge=0)
    """GB of features that are kept in memory between epochs; the rest is read from disk each time."""
    readers: int = Field(4, ge=1)
    """Threads that read features ahead of the training step."""
    tensorboard: bool = False
    """Also write each epoch's metrics for TensorBoard, to `tensorboard` in the fold's folder: `tensorboard --logdir results`."""
