"""The fitting of one fold: optimiser, schedule, epochs, the best of them, predictions."""

import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from roformermil.bags.dataset import BagDataset, Batch
from roformermil.bags.folds import PARTS, FoldRow, derive_seed
from roformermil.bags.prefetch import prefetch_batches
from roformermil.config import Model, Training
from roformermil.errors import BagError
from roformermil.evaluation.metrics import PROBABILITY_PREFIX, auroc
from roformermil.features.store import read_attributes
from roformermil.models.build import MILModel, ModelOutput, build_model, mil_loss, parameter_count
from roformermil.runtime.gpus import autocast, resolve_precision
from roformermil.training.memory import memory_errors_named


@dataclass(frozen=True)
class TrainingJob:
    """What is trained: a fold's rows, where their features are, and what to make of them."""

    dataset: str
    fold: int
    rows: list[FoldRow]
    stores: Path
    classes: list[str]
    model: Model
    training: Training

    def fingerprints(self) -> dict[str, str | None]:
        """What decided the features of each slide."""
        stores = ((row.slide_id, self.stores / f"{row.slide_id}.zarr") for row in self.rows)
        return {slide_id: read_attributes(store).get("fingerprint") for slide_id, store in stores}


class Fit:
    """A model being fitted (paper, section 3.2: Adam, a plateau schedule, early stopping)."""

    def __init__(self, job: TrainingJob):
        self.job = job
        seed = derive_seed(job.dataset, job.model.id, job.fold, job.training.seed)
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.data = BagDataset(job.rows, job.stores, job.classes, job.training.cache_gb * 1e9)
        self.model: MILModel = build_model(job.model, self.data.width, len(job.classes)).to(self.device)
        self.model.checkpointing = job.training.checkpointing
        self.precision = resolve_precision(job.training.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        settings = job.training
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=settings.scheduler_factor, patience=settings.scheduler_patience
        )
        self.draws = torch.Generator().manual_seed(seed)  # of the slides' order and of tiles
        self.history: list[dict[str, Any]] = []
        self.best_epoch, self.best_figure = -1, -float("inf")
        self.best_state: dict[str, Any] = {}

    def summary(self) -> str:
        """What is trained on what, in a line."""
        sizes = ", ".join(f"{len(self._slides(part))} {part}" for part in PARTS)
        limit = self.job.training.max_tiles
        return (
            f"{parameter_count(self.model):,} parameters; {sizes} slides; {self.device}, "
            f"{str(self.precision).removeprefix('torch.')}, {torch.get_num_threads()} threads; "
            + (f"at most {limit:,} tiles a slide in training" if limit else "all tiles")
        )

    def epoch(self, number: int) -> None:
        """One pass over the training slides, then the validation slides; adds a row to the history."""
        start = time.perf_counter()
        rate = self.optimizer.param_groups[0]["lr"]
        train_loss = self._train()
        loss, probabilities, labels = self._evaluate("validation")
        area, accuracy = auroc(labels, probabilities), float((probabilities.argmax(axis=1) == labels).mean())
        self.scheduler.step(loss)
        figure = {"loss": -loss, "auroc": area, "accuracy": accuracy}[self.job.training.monitor]
        if not np.isfinite(figure):
            raise BagError(f"{self.job.model.id}: the validation {self.job.training.monitor} is not a number")
        if figure > self.best_figure:
            self.best_epoch, self.best_figure = number, figure
            self.best_state = deepcopy(self.model.state_dict())
        self.history.append(
            {
                "epoch": number,
                "train_loss": train_loss,
                "validation_loss": loss,
                "validation_auroc": area,
                "validation_accuracy": accuracy,
                "learning_rate": rate,
                "seconds": round(time.perf_counter() - start, 3),
            }
        )

    def _train(self) -> float:
        """Mean training loss a slide over one pass."""
        self.model.train()
        settings, chosen = self.job.training, self._slides("train")
        order = torch.randperm(len(chosen), generator=self.draws).tolist()
        groups = [
            [chosen[k] for k in order[i : i + settings.batch_size]] for i in range(0, len(order), settings.batch_size)
        ]
        total = torch.zeros((), device=self.device)  # read once, at the end: no step waits for it
        for batch in prefetch_batches(self.data, groups, settings.readers, settings.max_tiles, self.draws):
            with memory_errors_named(batch, training=True):
                _, loss = self._run(batch)
                self.optimizer.zero_grad()
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
            total += loss.detach() * len(batch.lengths)
        mean = total.item() / len(chosen)
        if not np.isfinite(mean):
            raise BagError(f"{self.job.model.id}: the training loss is not finite; lower training.learning_rate")
        return mean

    @torch.no_grad()
    def _evaluate(self, part: str) -> tuple[float, np.ndarray, np.ndarray]:
        """Mean loss a slide, probabilities (n, C) and labels (n,) of a part, slide by slide, whole slides."""
        self.model.eval()
        losses, probabilities, labels = [], [], []
        for batch in prefetch_batches(self.data, [[k] for k in self._slides(part)], self.job.training.readers):
            with memory_errors_named(batch, training=False):
                out, loss = self._run(batch)
            losses.append(loss)
            probabilities.append(out.logits.double().softmax(dim=-1))
            labels.append(batch.labels)
        mean = torch.stack(losses).double().mean().item()
        return mean, torch.cat(probabilities).cpu().numpy(), torch.cat(labels).numpy()

    def _run(self, batch: Batch) -> tuple[ModelOutput, Tensor]:
        """The model's output for a batch, and its loss."""
        batch = batch.to(self.device)
        with autocast(self.device, self.precision):
            out = self.model(batch.features, batch.grid, batch.lengths)
            return out, mil_loss(out, batch.labels, batch.lengths)

    def _slides(self, part: str) -> list[int]:
        return [k for k, row in enumerate(self.job.rows) if row.part == part]

    def predictions(self, part: str) -> list[dict[str, Any]]:
        """Rows of predictions.csv for a part: the slide, its label, and a probability a class."""
        _, probabilities, _ = self._evaluate(part)
        rows = [row for row in self.job.rows if row.part == part]
        columns = [f"{PROBABILITY_PREFIX}{name}" for name in self.job.classes]
        return [
            {"slide_id": row.slide_id, "patient_id": row.patient_id, "label": row.label, "part": part}
            | dict(zip(columns, ps, strict=True))
            for row, ps in zip(rows, probabilities.tolist(), strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "draws": self.draws.get_state(),
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "history": self.history,
            "best": (self.best_epoch, self.best_figure, self.best_state),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.draws.set_state(state["draws"])
        torch.set_rng_state(state["random"])
        if state["random_gpu"]:
            torch.cuda.set_rng_state_all(state["random_gpu"])
        self.history = state["history"]
        self.best_epoch, self.best_figure, self.best_state = state["best"]
