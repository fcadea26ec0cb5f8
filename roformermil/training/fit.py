"""The fitting of one fold by gradient descent: optimiser, schedule, epochs, the best of them."""

import math
import time
from typing import Any

import torch
from torch import Tensor, optim
from torch.utils.data import WeightedRandomSampler

from roformermil.bags.augmentation import Augmentation
from roformermil.bags.dataset import Batch
from roformermil.bags.folds import derive_seed
from roformermil.bags.prefetch import prefetch_batches
from roformermil.config.training import grid_augmentation
from roformermil.training.fold_model import FoldModel, TrainingJob
from roformermil.training.memory import memory_errors_named

STATEFUL = ("model", "optimizer", "scheduler", "scaler")  # attributes of a Fit with a state_dict


class Fit(FoldModel):
    """A model in training (paper, section 3.2): Adam, a plateau schedule, and the best epoch so far."""

    def __init__(self, job: TrainingJob):
        super().__init__(job)
        settings = job.training
        if job.model.covariates:
            self._begin_with_covariates()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.optimizer = optim.Adam(self.model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
        factor, patience = settings.scheduler_factor, settings.scheduler_patience
        self.scheduler = optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, factor=factor, patience=patience)
        self.generator = torch.Generator().manual_seed(self.seed)  # draws the order of slides and their tiles
        self.grid_generator = torch.Generator().manual_seed(derive_seed(self.seed, "grid"))
        mode, limits = grid_augmentation(settings, job.model), (settings.max_tiles, settings.tile_fraction)
        self.augmentation = Augmentation(mode, *limits, self.generator, self.grid_generator)
        self.class_weights: Tensor | None = None
        if self.balance and settings.class_weights != "none":
            self.class_weights = torch.tensor(self.balance.weights, dtype=torch.float32, device=self.device)

    def _begin_with_covariates(self) -> None:
        """Their weights would be far below the regression's when the tiles' are at their best: both learn at one rate."""
        from roformermil.training.linear import regress_covariates  # scikit-learn's solvers, which no other model needs

        weights, biases = regress_covariates(self)
        assert self.model.fusion is not None
        with torch.no_grad():
            self.model.fusion.copy_(torch.as_tensor(weights))
            self.model.head.classifiers.bias.copy_(torch.as_tensor(biases))

    @property
    def epochs(self) -> int:
        return self.job.training.epochs

    @property
    def has_converged(self) -> bool:
        """Whether the best epoch is longer ago than `patience`."""
        return len(self.history) - self.best_epoch > self.job.training.patience

    def describe(self) -> str:
        settings = self.job.training
        limits = [f"{settings.tile_fraction:.0%}"] if settings.tile_fraction < 1 else []
        limits += [f"at most {settings.max_tiles:,}"] if settings.max_tiles else []
        return f"{', '.join(limits)} of a {self.job.unit}'s tiles in each training step" if limits else "all tiles"

    def epoch(self, number: int) -> None:
        """Pass over the training slides, then over the validation slides; add a row to the history."""
        start = time.perf_counter()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        train_loss = self._train()
        metrics = self.validation_metrics(*self.evaluate("validation"))
        self.scheduler.step(metrics["loss"])
        self.keep_if_best(number, metrics)
        row = {"epoch": number, "train_loss": train_loss} | {f"validation_{name}": v for name, v in metrics.items()}
        row |= {"learning_rate": learning_rate, "seconds": round(time.perf_counter() - start, 3)}
        self.history.append(row)

    def _train(self) -> float:
        """The mean loss per bag of one epoch: a pass over the training slides or patients, or the number of passes closest to `epoch_steps`."""
        self.model.train()
        settings, count = self.job.training, len(self.slides("train"))
        passes = max(1, round(settings.epoch_steps / math.ceil(count / settings.batch_size)))
        total = torch.zeros((), device=self.device)  # read at the end only, so that no step waits for it
        for _ in range(passes):
            order = self._draw_slides()
            groups = [order[start : start + settings.batch_size] for start in range(0, len(order), settings.batch_size)]
            for batch in prefetch_batches(self.data, groups, settings.readers, self.augmentation, self.on_gpu):
                total += self._step(batch) * len(batch.lengths)
        mean = total.item() / (passes * count)
        self.check_finite("train", mean)
        return mean

    def _draw_slides(self) -> list[int]:
        """The training slides of one pass in their order: each once, or as many with all classes equally often."""
        slides = self.slides("train")
        if self.balance is None or self.job.training.sampler == "shuffle":
            return [slides[k] for k in torch.randperm(len(slides), generator=self.generator).tolist()]
        weights = [float(self.balance.draws[self.data.targets[k]]) for k in slides]
        return [slides[k] for k in WeightedRandomSampler(weights, len(slides), generator=self.generator)]

    def _step(self, batch: Batch) -> Tensor:
        """One step of the optimiser; returns the batch's mean loss."""
        with memory_errors_named(batch, training=True):
            loss = self.run(batch, self.class_weights)[1]
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        return {name: getattr(self, name).state_dict() for name in STATEFUL} | {
            "generator": self.generator.get_state(),
            "grid_generator": self.grid_generator.get_state(),
            "random": torch.get_rng_state(),
            "random_gpu": torch.cuda.get_rng_state(self.device) if self.on_gpu else None,
            **super().state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        for name in STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.generator.set_state(state["generator"])
        self.grid_generator.set_state(state["grid_generator"])
        torch.set_rng_state(state["random"])
        if self.on_gpu:
            torch.cuda.set_rng_state(state["random_gpu"], self.device)
