"""Training against its protocol, written again as a plain loop: every number of history.csv and predictions.csv.

The settings differ from the defaults, and from one case to the next, in whatever decides a number: one that is ignored shows.
"""

import hashlib

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy

from roformermil.bags.folds import FoldRow
from roformermil.config import Model, Training
from roformermil.features.store import read_store
from roformermil.models import build_model
from roformermil.models.inference import load_model
from roformermil.training import TrainingJob, fold_model, train_fold
from tests.factories import read_rows

SHAPE = {"hidden_dim": 16, "attention_dim": 8, "num_heads": 2}
CASES = {  # model, number of classes, training
    "bf16": (
        {"name": "ro-dsmil", "id": "variant", "num_layers": 2, "dropout": 0.3, **SHAPE},
        2,
        {
            "epochs": 14,
            "patience": 4,
            "learning_rate": 0.01,
            "weight_decay": 0.03,
            "batch_size": 3,
            "scheduler_factor": 0.5,
        }
        | {"scheduler_patience": 0, "monitor": "auroc", "seed": 16, "max_tiles": 4, "precision": "bf16", "readers": 3}
        | {"epoch_steps": 9, "normalize": "standardize", "augment_grid": "rotate", "average_orientations": True},
    ),
    "fp32": (
        {"name": "abmil", "dropout": 0.5, **SHAPE},
        3,
        {
            "epochs": 12,
            "patience": 7,
            "learning_rate": 0.005,
            "weight_decay": 0.05,
            "batch_size": 5,
            "scheduler_factor": 0.3,
        }
        | {
            "scheduler_patience": 1,
            "monitor": "accuracy",
            "seed": 11,
            "precision": "fp32",
            "checkpointing": True,
            "readers": 2,
        }
        | {"epoch_steps": 3, "normalize": "center", "augment_grid": "flip", "tile_fraction": 0.6},
    ),
    "fp16": (
        {"name": "gated-abmil", "dropout": 0.1, **SHAPE},
        2,
        {
            "epochs": 30,
            "patience": 3,
            "learning_rate": 0.05,
            "weight_decay": 1e-3,
            "batch_size": 2,
            "scheduler_factor": 0.7,
        }
        | {"scheduler_patience": 1, "monitor": "loss", "seed": 6, "max_tiles": 3, "precision": "fp16", "cache_gb": 0}
        | {"epoch_steps": 1, "normalize": "none", "augment_grid": "none"},
    ),
}
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@pytest.fixture(params=CASES)
def job(request, make_stores):
    """20 slides with little to tell the classes apart, so that scores go up and down."""
    model, classes, training = CASES[request.param]
    names = ["y", "x", "z"][:classes]
    parts = ["train"] * 11 + ["validation"] * 5 + ["test"] * 4
    rows = [FoldRow(2, f"s{k:02d}", f"p{k}", names[k % classes], part) for k, part in enumerate(parts)]
    tiles = {row.slide_id: 1 + k * 5 % 7 for k, row in enumerate(rows)}
    stores = make_stores(tiles, dim=6, shift={row.slide_id: 0.15 * names.index(row.label) for row in rows})
    order = np.random.default_rng(0).permutation(len(rows))  # as in folds.csv, where the parts are mixed
    return TrainingJob("data", 2, [rows[k] for k in order], stores, names, Model(**model), Training(**training))


class PlainLoop:
    """The protocol: Adam, shuffled batches, a plateau schedule on the validation loss, the best epoch, early stopping."""

    def __init__(self, job):
        self.job, self.settings, self.dtype = job, job.training, TYPES[job.training.precision]
        digest = hashlib.sha256(f"{job.dataset}/{job.fold}/{self.settings.seed}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        torch.manual_seed(seed)
        self.model = build_model(job.model, 6, len(job.classes))
        grid_seed = int.from_bytes(hashlib.sha256(f"{seed}/grid".encode()).digest()[:4], "big")
        self.generator, self.grid_generator = (torch.Generator().manual_seed(number) for number in (seed, grid_seed))
        self.stores = {row.slide_id: read_store(job.stores / f"{row.slide_id}.zarr") for row in job.rows}
        self.slides = {part: [row for row in job.rows if row.part == part] for part in ("train", "validation", "test")}

        self.mean, self.scale = self.normalization()

    def normalization(self):
        """Mean and factor per feature: of the training slides, each of equal weight."""
        arrays = [self.stores[slide.slide_id].features.astype(np.float64) for slide in self.slides["train"]]
        mean = np.mean([array.mean(axis=0) for array in arrays], axis=0)
        std = np.sqrt(np.mean([((array - mean) ** 2).mean(axis=0) for array in arrays], axis=0))
        factor = {"none": np.ones_like(std), "center": np.ones_like(std), "standardize": 1 / std}[
            self.settings.normalize
        ]
        return mean * (self.settings.normalize != "none"), factor

    def rotated(self, grid):
        """Any angle, a scale of 0.8 to 1.25 of which 1 is the median, mirrored or not: (n, 2) float32."""
        turn, size, mirrored = torch.rand(3, generator=self.grid_generator).tolist()
        turned = 0.8 * (1.25 / 0.8) ** size * np.exp(2j * np.pi * turn) * (grid[:, 0] + 1j * grid[:, 1])
        return np.stack((turned.real, -turned.imag if mirrored < 0.5 else turned.imag), axis=1).astype(np.float32)

    def loss_and_logits(self, slides, training=False, orientation=0):
        bags = []
        for slide in slides:
            store = self.stores[slide.slide_id]
            tiles, grid, turn = torch.arange(len(store.grid)), store.grid, orientation
            if training:
                count = min(int(np.ceil(self.settings.tile_fraction * len(tiles))), self.settings.max_tiles or 10**9)
                if count < len(tiles):
                    tiles = torch.randperm(len(tiles), generator=self.generator)[:count].sort().values
                if self.settings.augment_grid == "flip":
                    turn = int(torch.randint(8, (), generator=self.grid_generator))
                if self.settings.augment_grid == "rotate":
                    grid = self.rotated(grid)
            grid = grid[:, ::-1] if turn >= 4 else grid
            grid = grid * np.array([(1, 1), (-1, 1), (1, -1), (-1, -1)][turn % 4])
            scaled = ((store.features - self.mean) * self.scale).astype(np.float32)
            bags.append((torch.from_numpy(scaled)[tiles], torch.from_numpy(grid)[tiles]))
        features, grid = (torch.cat(arrays) for arrays in zip(*bags, strict=True))
        lengths = [len(positions) for _, positions in bags]
        labels = torch.tensor([self.job.classes.index(slide.label) for slide in slides])
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            out = self.model(features, grid, lengths)
            loss = cross_entropy(out.logits, labels)
            if out.instance_logits is not None:
                highest = torch.stack([scores.amax(dim=0) for scores in out.instance_logits.split(lengths)])
                loss = 0.5 * loss + 0.5 * cross_entropy(highest, labels)
        return loss, out.logits.detach()

    def train(self, optimizer, scaler):
        self.model.train()
        slides, seen, total, order = self.slides["train"], 0, 0.0, []
        passes = max(1, int(0.5 + self.settings.epoch_steps / -(len(slides) // -self.settings.batch_size)))
        while order or seen < passes * len(slides):
            order = order or torch.randperm(len(slides), generator=self.generator).tolist()
            batch, order = order[: self.settings.batch_size], order[self.settings.batch_size :]
            seen += len(batch)
            loss, _ = self.loss_and_logits([slides[k] for k in batch], training=True)
            for parameter in self.model.parameters():
                parameter.grad = None
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss.item() * len(batch)
        return total / seen

    @torch.no_grad()
    def predict(self, part, orientation=0):
        """The mean loss, probabilities (n, C) and labels (n,)."""
        self.model.eval()
        results = [self.loss_and_logits([slide], orientation=orientation) for slide in self.slides[part]]
        logits = torch.cat([logits for _, logits in results]).double().numpy()
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = np.array([self.job.classes.index(slide.label) for slide in self.slides[part]])
        return np.mean([loss.item() for loss, _ in results]), probabilities, labels

    def run(self):
        """The history, the predictions by slide, and the best epoch."""
        s, history = self.settings, []
        optimizer = torch.optim.Adam(self.model.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
        scaler = torch.amp.GradScaler("cpu", enabled=self.dtype == torch.float16)
        rate, lowest, worse, best_score, best_epoch, best = s.learning_rate, np.inf, 0, -np.inf, -1, {}
        for epoch in range(s.epochs):
            optimizer.param_groups[0]["lr"] = rate
            train_loss = self.train(optimizer, scaler)
            loss, probabilities, labels = self.predict("validation")
            scores = {
                "auroc": mean_auroc(labels, probabilities),
                "accuracy": np.mean(probabilities.argmax(1) == labels),
            }
            row = {"train_loss": train_loss, "validation_loss": loss, "learning_rate": rate}
            history.append({"epoch": epoch, **row, **{f"validation_{name}": value for name, value in scores.items()}})
            lowest, worse = (loss, 0) if loss < lowest * (1 - 1e-4) else (lowest, worse + 1)
            if worse > s.scheduler_patience:
                rate, worse = rate * s.scheduler_factor, 0
            if (score := scores.get(s.monitor, -loss)) > best_score:
                best_score, best_epoch = score, epoch
                best = {name: value.clone() for name, value in self.model.state_dict().items()}
            if epoch - best_epoch == s.patience:
                break
        self.model.load_state_dict(best)
        predictions = {}
        turns = range(8 if s.average_orientations else 1)
        for part, slides in self.slides.items():
            probabilities = np.mean([self.predict(part, turn)[1] for turn in turns], axis=0)
            for slide, row in zip(slides, probabilities, strict=True):
                predictions[slide.slide_id] = (slide.patient_id, slide.label, part, *row)
        return history, predictions, best_epoch


def mean_auroc(labels, probabilities):
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in classes])


def test_a_fold_follows_the_protocol(job, tmp_path, monkeypatch):
    monkeypatch.setattr(fold_model, "best_device", lambda: torch.device("cpu"))
    train_fold(job, tmp_path / "out", progress=False)
    history, predictions, best_epoch = (loop := PlainLoop(job)).run()
    written = read_rows(tmp_path / "out/history.csv")
    assert set(written[0]) == {*history[0], "seconds"} and len(written) == len(history)
    for row, expected in zip(written, history, strict=True):
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected, rel=1e-6)
    rates = [row["learning_rate"] for row in history]
    assert rates[best_epoch] < rates[0] and 0 < best_epoch < len(history) - 1, "a case in which all settings count"
    saved = load_model(tmp_path / "out/model.safetensors")
    assert saved.metadata["best_epoch"] == str(best_epoch)
    if job.training.normalize != "none":
        for name, expected in (("mean", loop.mean), ("scale", loop.scale)):
            assert getattr(saved.model.normalization, name).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for name, value in loop.model.state_dict().items():
        torch.testing.assert_close(saved.model.state_dict()[name].cpu(), value, rtol=1e-5, atol=1e-7)
    rows = read_rows(tmp_path / "out/predictions.csv")
    assert [row["slide_id"] for row in rows] == list(predictions)
    for row in rows:
        *slide, probabilities = (*predictions[row["slide_id"]][:3], predictions[row["slide_id"]][3:])
        assert [row["patient_id"], row["label"], row["part"]] == slide
        assert [float(row[f"probability_{name}"]) for name in job.classes] == pytest.approx(probabilities, rel=1e-6)
