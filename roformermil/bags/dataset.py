"""Bags for training: a torch Dataset of slides, and batches of them packed without padding."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from roformermil.bags.folds import FoldRow
from roformermil.errors import BagError
from roformermil.features.store import Features, read_store


class Bag(NamedTuple):
    """A slide's tiles as vectors, with its label."""

    features: Tensor  # (n, d) float16
    grid: Tensor  # (n, 2) int32
    label: int


class Batch(NamedTuple):
    """B bags, their tiles one after another."""

    features: Tensor  # (T, d) float32
    grid: Tensor  # (T, 2) int32
    lengths: list[int]  # tiles of each bag, sum T
    labels: Tensor  # (B,) int64


class BagDataset(Dataset[Bag]):
    """The slides of a fold's part, from their feature stores. Plugs into a torch DataLoader with `collate_fn=pack`."""

    def __init__(self, rows: Sequence[FoldRow], stores: Path, classes: Sequence[str], cache_bytes: float = 0):
        self.rows, self.stores = list(rows), Path(stores)
        self.labels = [list(classes).index(row.label) for row in self.rows]
        self._cache: dict[int, Bag] = {}
        self._room = cache_bytes

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Bag:
        """Raises BagError naming the slide when its store holds no tiles or numbers that are not finite."""
        if index not in self._cache:
            slide_id = self.rows[index].slide_id
            stored = read_store(self.stores / f"{slide_id}.zarr")
            _check(slide_id, stored)
            bag = Bag(torch.from_numpy(stored.features), torch.from_numpy(stored.grid), self.labels[index])
            if stored.features.nbytes > self._room:
                return bag
            self._room -= stored.features.nbytes
            self._cache[index] = bag
        return self._cache[index]


def pack(bags: Sequence[Bag]) -> Batch:
    """Bags, whatever their sizes, as one batch without padding."""
    return Batch(
        features=torch.cat([bag.features for bag in bags]).float(),
        grid=torch.cat([bag.grid for bag in bags]),
        lengths=[len(bag.grid) for bag in bags],
        labels=torch.tensor([bag.label for bag in bags]),
    )


def _check(slide_id: str, stored: Features) -> None:
    if len(stored.features) == 0:
        raise BagError(f"slide {slide_id} has no tiles in its feature store; run `embed` again")
    if not np.isfinite(stored.features).all():
        raise BagError(f"slide {slide_id}: its features hold NaN or infinity; run `embed` again")
