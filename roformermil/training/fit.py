"""The fitting of one fold: optimiser, schedule, epochs, the best of them, predictions."""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, optim

from roformermil.bags.augmentation import Augmentation
from roformermil.bags.dataset import Bag, BagDataset, Batch
from roformermil.bags.folds import PARTS, FoldRow, derive_seed
from roformermil.bags.prefetch import prefetch_batches
from roformermil.bags.statistics import feature_statistics
from roformermil.config import Model, Training, Unit
from roformermil.config.training import grid_augmentation
from roformermil.errors import BagError
from roformermil.evaluation.metrics import auroc
from roformermil.features.store import read_attributes
from roformermil.models.build import MILModel, ModelOutput, build_model, mil_loss, parameter_count
from roformermil.models.normalization import fit_normalization
from roformermil.runtime.gpus import autocast, best_device, repeat_exactly, resolve_precision
from roformermil.training.memory import memory_errors_named

STATEFUL = ("model", "optimizer", "scheduler", "scaler")  # attributes of a Fit with a state_dict


@dataclass(frozen=True)
class TrainingJob:
    """A fold to train: its slides, their features, the model and the settings."""

    dataset: str
    fold: int
    rows: list[FoldRow]
    stores: Path
    classes: list[str]
    model: Model
    training: Training
    unit: Unit = "slide"

    def feature_fingerprints(self) -> dict[str, str | None]:
        """Fingerprints of what decided each slide's features, by slide_id."""
        return {r.slide_id: read_attributes(self.stores / f"{r.slide_id}.zarr").get("fingerprint") for r in self.rows}


class Fit:
    """A model in training (paper, section 3.2): Adam, a plateau schedule, and the best epoch so far."""

    def __init__(self, job: TrainingJob):
        self.job, settings = job, job.training
        seed = derive_seed(job.dataset, job.fold, settings.seed)  # of all models the same: they are paired
        torch.manual_seed(seed)
        repeat_exactly()
        self.device = best_device()
        self.on_gpu = self.device.type == "cuda"
        self.data = BagDataset(job.rows, job.stores, job.classes, settings.cache_gb * 1e9, job.unit)
        self.model: MILModel = build_model(job.model, self.data.width, len(job.classes)).to(self.device)
        self.model.checkpointing = settings.checkpointing
        if settings.normalize != "none":
            mean, std = feature_statistics(self.data, self.slides("train"), settings.readers)
            self.model.normalization = fit_normalization(mean, std, settings.normalize).to(self.device)
        self.precision = resolve_precision(settings.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.optimizer = optim.Adam(self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        factor, patience = settings.scheduler_factor, settings.scheduler_patience
        self.scheduler = optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, factor=factor, patience=patience)
        self.generator = torch.Generator().manual_seed(seed)  # draws the order of slides and their tiles
        self.grid_generator = torch.Generator().manual_seed(derive_seed(seed, "grid"))
        mode, limits = grid_augmentation(settings, job.model), (settings.max_tiles, settings.tile_fraction)
        self.augmentation = Augmentation(mode, *limits, self.generator, self.grid_generator)
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_score = -1, -float("inf")
        self.best_state: dict[str, Any] = {}

    def summary(self) -> str:
        """The model, the slides and the machine in one line."""
        sizes = ", ".join(f"{len(self.slides(part))} {part}" for part in PARTS)
        settings, precision = self.job.training, str(self.precision).removeprefix("torch.")
        machine = f"{self.device}, {precision}, {torch.get_num_threads()} threads"
        limits = [f"{settings.tile_fraction:.0%}"] if settings.tile_fraction < 1 else []
        limits += [f"at most {settings.max_tiles:,}"] if settings.max_tiles else []
        tiles = f"{', '.join(limits)} of a {self.job.unit}'s tiles in each training step" if limits else "all tiles"
        return f"{parameter_count(self.model):,} parameters; {sizes} {self.job.unit}s; {machine}; {tiles}"

    def epoch(self, number: int) -> None:
        """Pass over the training slides, then over the validation slides; add a row to the history."""
        start = time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        train_loss = self._train()
        loss, probabilities, labels = self.evaluate("validation")
        accuracy = float((probabilities.argmax(axis=1) == labels).mean())
        metrics = {"loss": loss, "auroc": auroc(labels, probabilities), "accuracy": accuracy}
        self.scheduler.step(loss)
        self._keep_if_best(number, metrics)
        row = {"epoch": number, "train_loss": train_loss} | {f"validation_{name}": v for name, v in metrics.items()}
        row |= {"learning_rate": learning_rate, "seconds": round(time.perf_counter() - start, 3)}
        self.history.append(row)

    def _keep_if_best(self, number: int, metrics: dict[str, float]) -> None:
        monitor = self.job.training.monitor
        score = -metrics["loss"] if monitor == "loss" else metrics[monitor]
        if not np.isfinite(score):
            problem = f"the validation {monitor} is undefined, since a class has no validation {self.job.unit}"
            raise BagError(f"{self.job.model.id}: {problem}; set training.monitor to loss")
        if score > self.best_score:
            self.best_epoch, self.best_score = number, score
            self.best_state = deepcopy(self.model.state_dict())

    def _train(self) -> float:
        """The mean loss per bag of one epoch: a pass over the training slides or patients, or the number of passes closest to `epoch_steps`."""
        self.model.train()
        settings, slides = self.job.training, self.slides("train")
        passes = max(1, round(settings.epoch_steps / math.ceil(len(slides) / settings.batch_size)))
        total = torch.zeros((), device=self.device)  # read at the end only, so that no step waits for it
        for _ in range(passes):
            order = [slides[k] for k in torch.randperm(len(slides), generator=self.generator).tolist()]
            groups = [order[start : start + settings.batch_size] for start in range(0, len(order), settings.batch_size)]
            for batch in prefetch_batches(self.data, groups, settings.readers, self.augmentation, self.on_gpu):
                total += self._step(batch) * len(batch.lengths)
        mean = total.item() / (passes * len(slides))
        self._check_finite("train", mean)
        return mean

    def _step(self, batch: Batch) -> Tensor:
        """One step of the optimiser; returns the batch's mean loss."""
        with memory_errors_named(batch, training=True):
            loss = self._run(batch)[1]
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss.detach()

    def _check_finite(self, part: str, loss: float) -> None:
        if not np.isfinite(loss):
            raise BagError(f"{self.job.model.id}: the {part} loss is not finite; lower training.learning_rate")

    @torch.no_grad()
    def evaluate(
        self, part: str, change: Callable[[Bag], Bag] = lambda bag: bag
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """The mean loss, probabilities (n, C) and labels (n,) of a part's bags, one at a time with all their tiles.

        change: applied to each bag.
        """
        self.model.eval()
        losses, probabilities, labels = [], [], []
        groups, readers = [[k] for k in self.slides(part)], self.job.training.readers
        for batch in prefetch_batches(self.data, groups, readers, change, self.on_gpu):
            with memory_errors_named(batch, training=False):
                out, loss = self._run(batch)
            losses.append(loss)
            probabilities.append(out.logits.double().softmax(dim=-1))
            labels.append(batch.labels)
        mean = torch.stack(losses).double().mean().item()
        self._check_finite(part, mean)
        return mean, torch.cat(probabilities).cpu().numpy(), torch.cat(labels).numpy()

    def _run(self, batch: Batch) -> tuple[ModelOutput, Tensor]:
        """The model's output for a batch, and its loss."""
        batch = batch.to(self.device)
        with autocast(self.device, self.precision):
            out = self.model(batch.features, batch.grid, batch.lengths, batch.slide_lengths)
            return out, mil_loss(out, batch.labels, batch.lengths)

    def slides(self, part: str) -> list[int]:
        """Indices of a part's bags: slides, or patients where these are the unit."""
        return [k for k, bag in enumerate(self.data.bags) if bag[0].part == part]

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors and plain values."""
        return {name: getattr(self, name).state_dict() for name in STATEFUL} | {
            "generator": self.generator.get_state(),
            "grid_generator": self.grid_generator.get_state(),
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state(self.device) if self.on_gpu else None,
            "history": self.history,
            "best": (self.best_epoch, self.best_score, self.best_state),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.grid_generator.set_state(state["grid_generator"])
        torch.set_rng_state(state["random"])
        if self.on_gpu:
            torch.cuda.set_rng_state(state["random_gpu"], self.device)
        self.history = state["history"]
        self.best_epoch, self.best_score, self.best_state = state["best"]
