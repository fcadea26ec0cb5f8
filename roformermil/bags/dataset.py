"""Bags for training: a torch Dataset of slides, and batches of them packed without padding."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from roformermil.bags.folds import FoldRow
from roformermil.errors import BagError
from roformermil.features.store import SlideFeatures, read_store

CACHE_LOCK = Lock()  # outside the data set, which is pickled for the processes of a DataLoader


class Bag(NamedTuple):
    """A slide's tiles as vectors, with its label."""

    features: Tensor  # (n, d) float16
    grid: Tensor  # (n, 2) int32
    label: int
    slide_id: str


class Batch(NamedTuple):
    """B bags, their tiles one after another."""

    features: Tensor  # (T, d) float16
    grid: Tensor  # (T, 2) int32
    lengths: list[int]  # tiles of each bag, T in sum
    labels: Tensor  # (B,) int64
    slide_ids: list[str]

    def to(self, device: torch.device) -> "Batch":
        """The batch on `device`. The host does not wait for the copy where the batch is pinned."""
        features, grid, labels = (x.to(device, non_blocking=True) for x in (self.features, self.grid, self.labels))
        return self._replace(features=features, grid=grid, labels=labels)


class BagDataset(Dataset[Bag]):
    """The bags of a fold's slides, read from feature stores. For a torch DataLoader use `collate_fn=pack`."""

    def __init__(self, rows: Sequence[FoldRow], stores: Path, classes: Sequence[str], cache_bytes: float = 0):
        """cache_bytes: how much of the features to keep in memory. Raises BagError for a label that is not in `classes`."""
        self.rows, self.stores = list(rows), Path(stores)
        for row in self.rows:
            if row.label not in classes:
                message = f"label {row.label!r} is not one of {', '.join(classes)}; fix the slide sheet"
                raise BagError(f"slide {row.slide_id}: {message}")
        self.labels = [list(classes).index(row.label) for row in self.rows]
        self._cache: dict[int, Bag] = {}
        self._cache_bytes = self._free_bytes = cache_bytes

    def __getstate__(self) -> dict[str, Any]:
        """For the processes of a DataLoader: each has a cache of its own, empty and of the full size."""
        return {**self.__dict__, "_cache": {}, "_free_bytes": self._cache_bytes}

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def width(self) -> int:
        """Values per tile of the first slide, which all others must have too."""
        return read_store(self._path(0)).features.shape[1]

    def __getitem__(self, index: int) -> Bag:
        """The bag of one slide; several threads may read. Raises StoreError or BagError naming a slide that cannot be used."""
        if index in self._cache:
            return self._cache[index]
        slide_id, stored = self.rows[index].slide_id, read_valid_store(self._path(index))
        if (width := stored.features.shape[1]) != self.width:
            widths = f"slide {slide_id} has {width} values per tile, slide {self.rows[0].slide_id} has {self.width}"
            remedy = f"name files of one encoder in the slide sheet (if imported), or {_remedy(self._path(index))}"
            raise BagError(f"{widths}: their features come from different encoders; {remedy}")
        bag = Bag(torch.from_numpy(stored.features), torch.from_numpy(stored.grid), self.labels[index], slide_id)
        with CACHE_LOCK:
            if index not in self._cache and stored.features.nbytes <= self._free_bytes:
                self._free_bytes -= stored.features.nbytes
                self._cache[index] = bag
        return bag

    def _path(self, index: int) -> Path:
        return self.stores / f"{self.rows[index].slide_id}.zarr"


def read_valid_store(store: Path) -> SlideFeatures:
    """The features of a slide, fit for a model. Raises StoreError, and BagError for no tiles, NaN or infinity."""
    stored = read_store(store)
    if len(stored.features) == 0:
        raise BagError(f"slide {store.stem} has no tiles in its feature store; {_remedy(store)}")
    extremes = torch.aminmax(torch.from_numpy(stored.features))  # both are NaN if any value is; faster than isfinite
    if not all(map(torch.isfinite, extremes)):
        raise BagError(f"slide {store.stem}: its features contain NaN or infinity; {_remedy(store)}")
    return stored


def _remedy(store: Path) -> str:
    again = "(in the workflow: snakemake --forcerun embed; imported features: --forcerun import_features)"
    return f"delete {store.absolute()} and encode the slide again {again}"


def pack(bags: Sequence[Bag], pinned: bool = False) -> Batch:
    """Bags of any sizes as one batch without padding. pinned: in memory from which a GPU copies while the host goes on."""
    features, grids, labels, slide_ids = zip(*bags, strict=True)
    packed = (_join(features, pinned), _join(grids, pinned))
    return Batch(*packed, [len(g) for g in grids], _join([torch.tensor(labels)], pinned), list(slide_ids))


def _join(tensors: Sequence[Tensor], pinned: bool) -> Tensor:
    """The tensors, one after another; a single one is not copied unless it is to be pinned."""
    if not pinned:
        return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]
    shape = (sum(len(x) for x in tensors), *tensors[0].shape[1:])
    return torch.cat(list(tensors), out=torch.empty(shape, dtype=tensors[0].dtype, pin_memory=True))
