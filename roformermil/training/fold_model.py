"""The model of a fold, its slides and its evaluation: what every way of fitting shares."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roformermil.bags.balance import class_balance
from roformermil.bags.covariate_table import covariates_digest
from roformermil.bags.covariates import CovariateCoding, add_covariates
from roformermil.bags.dataset import Bag, BagDataset, Batch
from roformermil.bags.folds import PARTS, FoldRow, derive_seed
from roformermil.bags.prefetch import prefetch_batches
from roformermil.bags.statistics import feature_statistics
from roformermil.config import Model, Training, Unit
from roformermil.errors import BagError, ConfigError
from roformermil.features.store import read_attributes
from roformermil.models.build import MILModel, ModelOutput, build_model, mil_loss, parameter_count
from roformermil.models.normalization import fit_normalization
from roformermil.runtime.gpus import autocast, best_device, repeat_exactly, resolve_precision
from roformermil.tasks import Task, as_task
from roformermil.training.memory import memory_errors_named


@dataclass(frozen=True)
class TrainingJob:
    """A fold to train: its slides, their features, the model and the settings."""

    dataset: str
    fold: int
    rows: list[FoldRow]
    stores: Path
    task: Task | list[str]  # or the classes of a classification
    model: Model
    training: Training
    unit: Unit = "slide"
    covariates: Path | None = None  # covariates.csv, for a model that uses them

    def __post_init__(self) -> None:
        if self.model.uses_covariates and self.covariates is None:
            remedy = "the file that `split --covariates` writes beside folds.csv"
            raise ConfigError(f"{self.model.id} uses covariates: give --covariates, {remedy}")

    @property
    def classes(self) -> list[str]:
        """In the order of their index; none of a task other than classification."""
        return list(as_task(self.task).classes)

    def feature_fingerprints(self) -> dict[str, str | None]:
        """Fingerprints of what decided each slide's features, by slide_id."""
        return {r.slide_id: read_attributes(self.stores / f"{r.slide_id}.zarr").get("fingerprint") for r in self.rows}

    def covariate_digests(self) -> dict[str, str]:
        """What tells which covariates were used, for a model that uses any."""
        used = self.model.uses_covariates and self.covariates
        return {"covariate_values": covariates_digest(self.covariates, self.rows)} if used and self.covariates else {}


class FoldModel(ABC):
    """A fold's model and the best epoch so far. What an epoch is, the subclass says."""

    def __init__(self, job: TrainingJob):
        self.job, settings = job, job.training
        self.seed = derive_seed(job.dataset, job.fold, settings.seed)  # of all models the same: they are paired
        torch.manual_seed(self.seed)
        repeat_exactly()
        self.device = best_device()
        self.on_gpu = self.device.type == "cuda"
        task = as_task(job.task)
        self.data = BagDataset(job.rows, job.stores, task, settings.cache_gb * 1e9, job.unit)
        self.coding = self._add_covariates()
        trained = self.slides("train")
        self.task = task.fit([self.data.bags[k][0].label for k in trained])
        self.balance = class_balance(self.data.targets[trained], len(task.classes), settings) if task.classes else None
        sizes = (self.data.width, len(self.task.outputs), len(self.coding.entries))
        self.model: MILModel = build_model(job.model, *sizes).to(self.device)
        self.model.checkpointing = settings.checkpointing
        if settings.normalize != "none":
            mean, std = feature_statistics(self.data, self.slides("train"), settings.readers)
            self.model.normalization = fit_normalization(mean, std, settings.normalize).to(self.device)
        self.precision = resolve_precision(settings.precision, self.device)
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_score = -1, -float("inf")
        self.best_state: dict[str, Any] = {}

    def _add_covariates(self) -> CovariateCoding:
        """Give the bags their covariates, where the model uses them; returns their coding, else one of none."""
        if not (self.job.model.uses_covariates and self.job.covariates):
            return CovariateCoding(columns=[])
        return add_covariates(self.data, self.slides("train"), self.job.covariates, self.job.unit)

    @property
    @abstractmethod
    def epochs(self) -> int:
        """At most so many epochs."""

    @property
    @abstractmethod
    def has_converged(self) -> bool:
        """Whether further epochs have no point."""

    @abstractmethod
    def epoch(self, number: int) -> None:
        """Fit the training slides, evaluate the validation slides; add a row to the history."""

    @abstractmethod
    def describe(self) -> str:
        """What is fitted how, for the log."""

    def summary(self) -> str:
        """The model, the slides and the machine in one line."""
        sizes = ", ".join(f"{len(self.slides(part))} {part}" for part in PARTS)
        machine = f"{self.device}, {str(self.precision).removeprefix('torch.')}, {torch.get_num_threads()} threads"
        return f"{parameter_count(self.model):,} parameters; {sizes} {self.job.unit}s; {machine}; {self.describe()}"

    def keep_if_best(self, number: int, metrics: dict[str, float]) -> None:
        """Keep the parameters if this epoch is the best so far by `monitor`. metrics: of the validation slides."""
        monitor = self.job.training.monitor
        score = -metrics["loss"] if monitor == "loss" else metrics[monitor]
        if not np.isfinite(score):
            problem = f"the validation {monitor} is undefined, since a class has no validation {self.job.unit}"
            raise BagError(f"{self.job.model.id}: {problem}; set training.monitor to loss")
        if score > self.best_score:
            self.best_epoch, self.best_score = number, score
            self.best_state = deepcopy(self.model.state_dict())

    def check_finite(self, part: str, loss: float) -> None:
        """Raises BagError for a loss that is not a number."""
        if not np.isfinite(loss):
            raise BagError(f"{self.job.model.id}: the {part} loss is not finite; lower training.learning_rate")

    @torch.no_grad()
    def evaluate(
        self, part: str, change: Callable[[Bag], Bag] = lambda bag: bag
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """The mean loss, predictions (n, P) and targets (n,) or (n, k) of a part's slides, one at a time with all their tiles.
        Classes count in the loss as they do in training.

        change: applied to each bag.
        """
        self.model.eval()
        losses, predictions, targets = [], [], []
        groups, readers = [[k] for k in self.slides(part)], self.job.training.readers
        for batch in prefetch_batches(self.data, groups, readers, change, self.on_gpu):
            with memory_errors_named(batch, training=False):
                out, loss = self.run(batch)
            losses.append(loss)
            predictions.append(self.task.activation(out.logits.double()))
            targets.append(batch.targets)
        truth, values = torch.cat(targets).numpy(), torch.stack(losses).double()
        is_plain = self.balance is None or self.balance.is_plain
        mean = values.mean().item() if is_plain else self.weighted_mean(values.cpu().numpy(), truth)
        self.check_finite(part, mean)
        return mean, torch.cat(predictions).cpu().numpy(), truth

    def run(self, batch: Batch, class_weights: Tensor | None = None) -> tuple[ModelOutput, Tensor]:
        """The model's output for a batch, and its loss. class_weights: (C,) on a slide's loss."""
        batch = batch.to(self.device)
        with autocast(self.device, self.precision):
            out = self.model(batch.features, batch.grid, batch.lengths, batch.slide_lengths, batch.covariates)
            return out, mil_loss(out, batch.targets, batch.lengths, class_weights, self.task)

    def weighted_mean(self, losses: np.ndarray, targets: np.ndarray) -> float:
        """The mean of slides' losses (n,), in which classes count as in training. targets: (n,) or (n, k)."""
        return float(np.average(losses, weights=None if self.balance is None else self.balance.per_slide[targets]))

    def validation_metrics(self, loss: float, predictions: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """`loss` and what else the task tells of the validation slides, of what `evaluate` returns."""
        return {"loss": loss} | self.task.validation_metrics(targets, predictions)

    def slides(self, part: str) -> list[int]:
        """Indices of a part's bags: slides, or patients where these are the unit."""
        return [k for k, bag in enumerate(self.data.bags) if bag[0].part == part]

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors and plain values."""
        return {"history": self.history, "best": (self.best_epoch, self.best_score, self.best_state)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self.history = state["history"]
        self.best_epoch, self.best_score, self.best_state = state["best"]
