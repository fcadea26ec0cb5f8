"""Bags for training: a torch Dataset of slides or patients, and batches of them packed without padding."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from roformermil.bags.folds import FoldRow
from roformermil.bags.patients import group_into_bags
from roformermil.config import Unit
from roformermil.errors import BagError, SheetError
from roformermil.features.store import SlideFeatures, read_store
from roformermil.tasks import Task, as_task

Target = int | np.ndarray | np.generic
UNKNOWN = -1  # the target of a bag that is only predicted
CACHE_LOCK = Lock()  # outside the data set, which is pickled for the processes of a DataLoader


class Bag(NamedTuple):
    """The tiles of a slide, or of one slide of a patient after the other, as vectors, with the target of their label."""

    features: Tensor  # (n, d) float16
    grid: Tensor  # (n, 2) int32, on the slide of each tile
    target: Target  # the class index, a number, or a survival time and whether there was an event
    slide_ids: list[str]
    slide_lengths: list[int]  # tiles of each slide, n in sum
    covariates: Tensor | None = None  # (k,) float32, where the model uses them

    def with_moved_tiles(self, move: Callable[[Tensor, str], Tensor]) -> "Bag":
        """The bag with the grid of each slide replaced by what `move` returns for it and the slide's id."""
        grids = zip(self.grid.split(self.slide_lengths), self.slide_ids, strict=True)
        return self._replace(grid=_join([move(grid, slide_id) for grid, slide_id in grids]))


class Batch(NamedTuple):
    """B bags, their tiles one after another."""

    features: Tensor  # (T, d) float16
    grid: Tensor  # (T, 2) int32
    lengths: list[int]  # tiles of each bag, T in sum
    targets: Tensor  # (B,) or (B, k), as `Task.targets`: int64 class indices, else float64
    slide_ids: list[str]  # of all bags
    slide_lengths: list[int]  # tiles of each slide, T in sum; `lengths` where a bag is a slide
    covariates: Tensor | None = None  # (B, k)

    def to(self, device: torch.device) -> "Batch":
        """The batch on `device`. The host does not wait for the copy where the batch is pinned."""
        features, grid, targets = (x.to(device, non_blocking=True) for x in (self.features, self.grid, self.targets))
        covariates = None if self.covariates is None else self.covariates.to(device, non_blocking=True)
        return self._replace(features=features, grid=grid, targets=targets, covariates=covariates)


class BagDataset(Dataset[Bag]):
    """The bags of a fold's slides or patients, read from feature stores. For a torch DataLoader use `collate_fn=pack`."""

    def __init__(
        self,
        rows: Sequence[FoldRow],
        stores: Path,
        task: Task | Sequence[str],
        cache_bytes: float = 0,
        unit: Unit = "slide",
    ):
        """task: or the classes of a classification; cache_bytes: how much of the features to keep in memory. Raises BagError for a
        label that is none of the task, and as `group_into_bags` does."""
        self.rows, self.stores, task = list(rows), Path(stores), as_task(task)
        for row in self.rows:
            try:
                task.check(row.label)
            except SheetError as error:
                raise BagError(f"slide {row.slide_id} has {error}; fix the slide sheet") from error
        self.bags = group_into_bags(self.rows, unit)
        self.targets = task.targets([bag[0].label for bag in self.bags])
        self.covariates: Tensor | None = None  # (bags, k), set before any bag is read: `bags.covariates`
        self._cache: dict[int, Bag] = {}
        self._cache_bytes = self._free_bytes = cache_bytes

    def __getstate__(self) -> dict[str, Any]:
        """For the processes of a DataLoader: each has a cache of its own, empty and of the full size."""
        return {**self.__dict__, "_cache": {}, "_free_bytes": self._cache_bytes}

    def __len__(self) -> int:
        return len(self.bags)

    @cached_property
    def width(self) -> int:
        """Values per tile of the first slide, which all others must have too."""
        return read_store(self._path(self.rows[0].slide_id)).features.shape[1]

    def __getitem__(self, index: int) -> Bag:
        """One bag; several threads may read. Raises StoreError or BagError naming a slide that cannot be used."""
        if index in self._cache:
            return self._cache[index]
        bag = join_slides({row.slide_id: self._read(row.slide_id) for row in self.bags[index]}, self.targets[index])
        if self.covariates is not None:
            bag = bag._replace(covariates=self.covariates[index])
        with CACHE_LOCK:
            if index not in self._cache and bag.features.nbytes <= self._free_bytes:
                self._free_bytes -= bag.features.nbytes
                self._cache[index] = bag
        return bag

    def _read(self, slide_id: str) -> SlideFeatures:
        stored = read_valid_store(self._path(slide_id))
        if (width := stored.features.shape[1]) != self.width:
            widths = f"slide {slide_id} has {width} values per tile, slide {self.rows[0].slide_id} has {self.width}"
            remedy = f"name files of one encoder in the slide sheet (if imported), or {_remedy(self._path(slide_id))}"
            raise BagError(f"{widths}: their features come from different encoders; {remedy}")
        return stored

    def _path(self, slide_id: str) -> Path:
        return self.stores / f"{slide_id}.zarr"


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


def join_slides(slides: Mapping[str, SlideFeatures], target: Target = UNKNOWN) -> Bag:
    """One bag of all tiles of slides, by slide_id. target: of its label."""
    stored = slides.values()
    features, grid = (_join([torch.from_numpy(getattr(one, name)) for one in stored]) for name in ("features", "grid"))
    return Bag(features, grid, target, list(slides), [len(one.grid) for one in stored])


def pack(bags: Sequence[Bag], pinned: bool = False) -> Batch:
    """Bags of any sizes as one batch without padding. pinned: in memory from which a GPU copies while the host goes on."""
    features, grids, targets, slide_ids, slide_lengths, vectors = zip(*bags, strict=True)
    packed = (_join(features, pinned), _join(grids, pinned))
    names, tiles = ([one for bag in parts for one in bag] for parts in (slide_ids, slide_lengths))
    joined = _join([torch.from_numpy(np.stack(targets))], pinned)
    covariates = None if vectors[0] is None else _join([torch.stack(vectors)], pinned)
    return Batch(*packed, [len(g) for g in grids], joined, names, tiles, covariates)


def _join(tensors: Sequence[Tensor], pinned: bool = False) -> Tensor:
    """The tensors, one after another; a single one is not copied unless it is to be pinned."""
    if not pinned:
        return torch.cat(list(tensors)) if len(tensors) > 1 else tensors[0]
    shape = (sum(len(x) for x in tensors), *tensors[0].shape[1:])
    return torch.cat(list(tensors), out=torch.empty(shape, dtype=tensors[0].dtype, pin_memory=True))
