"""Training of one fold."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from roformermil.config.base import Settings
from roformermil.config.model import Model

GridAugmentation = Literal["none", "flip", "rotate"]
Normalization = Literal["none", "center", "standardize"]
ClassWeights = Annotated[
    Annotated[Literal["none", "balanced"], Tag("name")]
    | Annotated[tuple[Annotated[float, Field(gt=0)], ...], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "name"),
]


class Training(Settings):
    """Training of one fold (paper, section 3.2)."""

    runtime_only: ClassVar = frozenset({"cache_gb", "readers", "tensorboard", "seeds"})

    epochs: int = Field(50, ge=1)
    """At most this many epochs."""
    epoch_steps: int = Field(80, ge=1)
    """An epoch is one pass over the training slides, or on small data sets the number of passes that comes closest to this
    many steps: so `patience`, `scheduler_patience` and `epochs` count about as many steps for ten slides as for three
    hundred. The paper's smallest cohort has 80 steps per pass."""
    patience: int = Field(10, ge=1)
    """Stop after this many epochs without improvement of `monitor`."""
    learning_rate: float = Field(1e-4, gt=0)
    """Adam's learning rate. Narrow models need a higher one: 5e-4 for a `hidden_dim` of 64 to 128."""
    weight_decay: float = Field(1e-5, ge=0)
    """Adam's weight decay."""
    batch_size: int = Field(4, ge=1)
    """Slides per step, or patients with `unit: patient`."""
    scheduler_factor: float = Field(0.1, gt=0, lt=1)
    """Factor on the learning rate after more than `scheduler_patience` epochs without a better validation loss."""
    scheduler_patience: int = Field(5, ge=0)
    """See `scheduler_factor`."""
    class_weights: ClassWeights = "none"
    """Factors on the loss of a slide by its class, for classes of unequal size: `balanced` gives all classes the same weight in sum;
    a list has one per class. Probabilities are then not calibrated to how frequent classes are."""
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    """Slides of a pass: each once (`shuffle`), or as many drawn with replacement, all classes equally often (`balanced`), which
    has the effect of balanced `class_weights`."""
    monitor: Literal["loss", "auroc", "accuracy"] = "loss"
    """Validation metric that selects the best epoch. On few slides AUROC and accuracy take few values only."""
    seed: int = 1
    """Seed of initial weights, dropout and slide order; each fold derives its own from it, the same for all models."""
    seeds: int = Field(1, ge=1)
    """Trainings per fold and model, with the seeds `seed`, `seed` + 1, ...: tables show means over them and their spread.
    Heat maps and packaged models use the first."""
    normalize: Normalization = "standardize"
    """Subtract the training slides' mean from each feature, and divide by its standard deviation (`standardize`). Kept in
    the model's file. Without it, a mean that all tiles share can keep training from starting."""
    augment_grid: GridAugmentation = "rotate"
    """In each training step, each slide's grid is flipped and turned by right angles (`flip`), or by any angle and scaled
    by 0.8 to 1.25 (`rotate`): tissue has no orientation on its glass. TransMIL needs a grid: `rotate` flips there. Has no
    effect on models that use no position."""
    average_orientations: bool = False
    """Predictions are means over the eight orientations of the grid; they take eight times as long. Has no effect on
    models that use no position."""
    max_tiles: int | None = Field(None, ge=1)
    """At most this many tiles of a slide (with `unit: patient`, of a patient) in a training step, drawn again each time;
    evaluation uses whole slides."""
    tile_fraction: float = Field(1.0, gt=0, le=1)
    """Share of a slide's tiles in a training step, drawn again each time."""
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

    @model_validator(mode="after")
    def _balances_once(self) -> "Training":
        if self.sampler == "balanced" and self.class_weights == "balanced":
            raise ValueError("class_weights: balanced and sampler: balanced do the same twice: leave one out")
        return self


def grid_augmentation(training: Training, model: Model) -> GridAugmentation:
    """How this model's grids are moved in training: TransMIL's convolutions need a square of tiles, so `rotate` flips there."""
    rotates_tiles = training.augment_grid == "rotate" and model.name == "transmil"
    return "flip" if rotates_tiles else training.augment_grid


def run_name(fold: int, seed: int | None = None) -> str:
    """The name of a fold's first training, its number, or of a further one: `3_seed_2`."""
    return f"{fold}" if seed is None else f"{fold}_seed_{seed}"


def run_names(folds: Iterable[int], training: Training) -> list[str]:
    """The name of each training of a model, a fold's seeds one after the other."""
    seeds = (None, *range(training.seed + 1, training.seed + training.seeds))
    return [run_name(fold, seed) for fold in folds for seed in seeds]


def fold_of_run(name: str) -> int:
    """The fold of the training of that name."""
    return int(name.partition("_")[0])


def training_of_run(name: str, training: Training) -> Training:
    """The settings of the training of that name: those given, with its seed."""
    _, _, seed = name.partition("_seed_")
    return training.model_copy(update={"seed": int(seed)}) if seed else training
