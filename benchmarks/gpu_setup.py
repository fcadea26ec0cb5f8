"""What the parts of `benchmarks/gpu.py` share: sizes, slides of random features, a training step."""

import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from roformermil.bags.dataset import Bag, Batch, pack
from roformermil.bags.folds import FoldRow
from roformermil.config import Model, Training
from roformermil.config.model import LINEAR, ModelName
from roformermil.features.store import write_store
from roformermil.models.build import build_model, mil_loss
from roformermil.runtime.gpus import autocast
from roformermil.training import TrainingJob

CLASSES = ["a", "b"]
WIDTH = 1024  # values per tile
Rows = Iterator[dict[str, Any]]  # of a part's table: a column's name and value; False is a failed check or missed goal
MODELS: dict[str, dict[str, Any]] = {name: {"name": name} for name in get_args(ModelName) if name not in LINEAR}
MODELS |= {
    f"ro-abmil, {position}": {"name": "ro-abmil", "position": position} for position in ("alibi", "sine", "none")
}
MODELS |= {"ro-abmil, rope learned": {"name": "ro-abmil", "rope_frequencies": "learned"}}


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    bags: tuple[int, ...]  # tiles of each slide where only numbers matter
    model: dict[str, int]  # settings of the models there
    steps: tuple[tuple[int, ...], ...]  # tiles of each slide of a step that is timed
    memory: tuple[int, ...]  # the same, whose memory is measured: 8 GB at most
    too_large: tuple[int, ...]  # the same, for which memory does not suffice
    slides: int  # of an epoch
    tiles: int  # of each
    epoch_steps: int
    rounds: int
    batches: tuple[int, ...]  # of the encoder
    batch_of_embed: int | None  # None: the default
    encoded: int  # tiles
    slide_px: int
    slide_copies: int
    tests: tuple[str, ...]


GPU = Sizes(
    bags=(900, 1500, 300, 64),
    model={},
    steps=((10_000,), (50_000,), (50_000, 44_000, 36_000, 30_000)),
    memory=(40_000,) * 4,
    too_large=(80_000,) * 4,
    slides=40,
    tiles=10_000,
    epoch_steps=80,
    rounds=5,
    batches=(32, 128, 256),
    batch_of_embed=None,
    encoded=8192,
    slide_px=16_384,
    slide_copies=12,
    tests=(
        "tests/models",
        "tests/training",
        "tests/bags",
        "tests/runtime/test_gpus.py",
        "tests/studies/test_overhead.py",
        "tests/features/test_encoders.py",
        "tests/features/test_embed.py",
    ),
)
SMALL = Sizes(
    bags=(9, 15, 3, 4),
    model={"hidden_dim": 32, "attention_dim": 16, "num_heads": 4},
    steps=((64,), (64, 32)),
    memory=(64,) * 4,
    too_large=(15_000,) * 4,
    slides=10,
    tiles=50,
    epoch_steps=2,
    rounds=1,
    batches=(2, 4),
    batch_of_embed=4,
    encoded=4,
    slide_px=768,
    slide_copies=2,
    tests=("tests/runtime/test_text.py",),
)


def guarded(row: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The row with what `measure` returns, or with its error."""
    try:
        return row | measure()
    except Exception as error:
        traceback.print_exc()
        return row | {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}


def make_batch(lengths: tuple[int, ...], device: torch.device, pinned: bool = False) -> Batch:
    """Slides of random features, as they come from a store. pinned: as in `pack`."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(sum(lengths), WIDTH, generator=generator).half().split(list(lengths))
    bags = [Bag(x, square_grid(len(x)), k % len(CLASSES), [f"s{k}"], [len(x)]) for k, x in enumerate(features)]
    return pack(bags, pinned).to(device)


def square_grid(tiles: int) -> torch.Tensor:
    """Positions of tiles in a square, row by row: (tiles, 2) int32."""
    side = math.isqrt(tiles - 1) + 1
    return torch.stack((torch.arange(tiles) % side, torch.arange(tiles) // side), dim=1).int()


def training_step(
    model: dict[str, Any], batch: Batch, dtype: torch.dtype, checkpointing: bool = False
) -> Callable[[], None]:
    """Forward, backward and Adam, as in training."""
    device = batch.features.device
    torch.manual_seed(0)
    net = build_model(model, batch.features.shape[1], len(CLASSES)).to(device).train()
    net.checkpointing = checkpointing
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def run() -> None:
        with autocast(device, dtype):
            loss = mil_loss(net(batch.features, batch.grid, batch.lengths), batch.targets, batch.lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def make_job(folder: Path, lengths: tuple[int, ...], model: dict[str, Any], **training: Any) -> TrainingJob:
    """A fold whose training slides have these tiles, and two small slides each for validation and test."""
    parts = [("train", tiles) for tiles in lengths] + [
        ("validation", 40),
        ("validation", 60),
        ("test", 50),
        ("test", 30),
    ]
    rng, rows = np.random.default_rng(0), []
    for k, (part, tiles) in enumerate(parts):
        path = folder / f"s{k}.zarr"
        if not path.exists():
            grid = square_grid(tiles).numpy()
            write_store(
                path, rng.standard_normal((tiles, WIDTH), dtype=np.float32), grid * 256, grid, {"fingerprint": str(k)}
            )
        rows.append(FoldRow(0, path.stem, path.stem, CLASSES[k % 2], part))
    settings = {"epochs": 4, "epoch_steps": 4, "batch_size": 4, **training}
    return TrainingJob("synthetic", 0, rows, folder, CLASSES, Model(**model), Training(**settings))


def with_model(job: TrainingJob, model: dict[str, Any]) -> TrainingJob:
    return replace(job, model=Model(**model))
