"""One fold of one model: fit, stop early, keep the best epoch, predict every part once."""

import json
import logging
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from roformermil import __version__
from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import PARTS, FoldRow, derive_seed
from roformermil.config import Model, Training
from roformermil.errors import BagError
from roformermil.files import atomic_path
from roformermil.metrics import auroc
from roformermil.models.build import MILModel, build_model, mil_loss, parameter_count
from roformermil.settings import to_text
from roformermil.status import write_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is trained: a fold's rows, where their features are, and what to make of them."""

    dataset: str
    fold: int
    rows: list[FoldRow]
    stores: Path
    classes: list[str]
    model: Model
    training: Training


def train_fold(job: Job, out: Path, progress: bool = True) -> None:
    """Train and write `model.safetensors`, `history.csv` and `predictions.csv` into `out`.

    The same job gives the same numbers on the same machine with the same number of threads. Test slides are read only
    for the final predictions. Raises BagError or StoreError naming the slide that cannot be used.
    """
    fit = Fit(job)
    history = []
    name = f"{job.model.id} fold {job.fold}"
    for epoch in tqdm(range(job.training.epochs), desc=name, unit="epoch", disable=not progress):
        history.append(fit.epoch(epoch))
        if epoch - fit.best_epoch >= job.training.patience:
            break
    log.info("%s: epochs 0 to %d, best %d", name, history[-1]["epoch"], fit.best_epoch)
    fit.model.load_state_dict(fit.best_state)
    out.mkdir(parents=True, exist_ok=True)
    save_model(out / "model.safetensors", fit, job)
    write_rows(out / "history.csv", history)
    write_rows(out / "predictions.csv", [row for part in PARTS for row in fit.predictions(part)])


class Fit:
    """A model being fitted (paper, section 3.2: Adam, a plateau schedule, early stopping)."""

    def __init__(self, job: Job):
        self.job = job
        seed = derive_seed(job.dataset, job.model.id, job.fold, job.training.seed)
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.data = BagDataset(job.rows, job.stores, job.classes, job.training.cache_gb * 1e9)
        first = next(k for k, row in enumerate(job.rows) if row.part == "train")
        in_dim = self.data[first].features.shape[1]
        self.model: MILModel = build_model(job.model, in_dim, len(job.classes)).to(self.device)
        settings = job.training
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=settings.scheduler_factor, patience=settings.scheduler_patience
        )
        shuffled = torch.Generator().manual_seed(seed)
        self.training_batches = self._loader("train", settings.batch_size, shuffle=True, generator=shuffled)
        self.best_epoch, self.best_figure = -1, -np.inf
        self.best_state: dict[str, Any] = {}

    def _loader(self, part: str, batch_size: int, **options: Any) -> DataLoader:
        chosen = [k for k, row in enumerate(self.job.rows) if row.part == part]
        return DataLoader(Subset(self.data, chosen), batch_size, collate_fn=pack, **options)

    def epoch(self, number: int) -> dict[str, Any]:
        """One pass over the training slides, then the validation slides; returns its row of the history."""
        start = time.perf_counter()
        rate = self.optimizer.param_groups[0]["lr"]
        train_loss = self._train()
        loss, probabilities, labels = self._evaluate("validation")
        area = auroc(labels, probabilities)
        self.scheduler.step(loss)
        figure = area if self.job.training.monitor == "auroc" else -loss
        if not np.isfinite(figure):
            raise BagError(f"{self.job.model.id}: the validation {self.job.training.monitor} is not a number")
        if figure > self.best_figure:
            self.best_epoch, self.best_figure = number, figure
            self.best_state = deepcopy(self.model.state_dict())
        return {
            "epoch": number,
            "train_loss": train_loss,
            "validation_loss": loss,
            "validation_auroc": area,
            "learning_rate": rate,
            "seconds": round(time.perf_counter() - start, 3),
        }

    def _train(self) -> float:
        """Mean training loss a slide over one pass."""
        self.model.train()
        total = 0.0
        for batch in self.training_batches:
            out = self.model(batch.features.to(self.device), batch.grid.to(self.device), batch.lengths)
            loss = mil_loss(out, batch.labels.to(self.device), batch.lengths)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(batch.labels)
        mean = total / len(self.training_batches.dataset)  # type: ignore[arg-type]
        if not np.isfinite(mean):
            raise BagError(f"{self.job.model.id}: the training loss is not finite; lower training.learning_rate")
        return mean

    @torch.no_grad()
    def _evaluate(self, part: str) -> tuple[float, np.ndarray, np.ndarray]:
        """Mean loss a slide, probabilities (n, C) and labels (n,) of a part, slide by slide."""
        self.model.eval()
        losses, probabilities, labels = [], [], []
        for batch in self._loader(part, 1):
            out = self.model(batch.features.to(self.device), batch.grid.to(self.device), batch.lengths)
            losses.append(mil_loss(out, batch.labels.to(self.device), batch.lengths).item())
            probabilities.append(out.logits.double().softmax(dim=-1).cpu())
            labels.append(batch.labels)
        return float(np.mean(losses)), torch.cat(probabilities).numpy(), torch.cat(labels).numpy()

    def predictions(self, part: str) -> list[dict[str, Any]]:
        """Rows of predictions.csv for a part: the slide, its label, and a probability a class."""
        _, probabilities, _ = self._evaluate(part)
        rows = [row for row in self.job.rows if row.part == part]
        columns = [f"probability_{name}" for name in self.job.classes]
        return [
            {"slide_id": row.slide_id, "patient_id": row.patient_id, "label": row.label, "part": part}
            | dict(zip(columns, ps, strict=True))
            for row, ps in zip(rows, probabilities.tolist(), strict=True)
        ]


def save_model(path: Path, fit: Fit, job: Job) -> None:
    """Write the model's parameters as safetensors, with all it takes to build and feed it as metadata."""
    metadata = {
        "model": to_text(job.model),
        "training": to_text(job.training),
        "in_dim": str(fit.model.in_dim),
        "classes": json.dumps(job.classes),
        "dataset": job.dataset,
        "fold": str(job.fold),
        "best_epoch": str(fit.best_epoch),
        "parameters": str(parameter_count(fit.model)),
        "version": __version__,
    }
    state = {name: tensor.contiguous().cpu() for name, tensor in fit.model.state_dict().items()}
    with atomic_path(path) as scratch:
        save_file(state, scratch, metadata)
