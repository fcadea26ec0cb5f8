"""Batches read ahead of their use.

Threads, not DataLoader's processes: they share the cache of bags, start at once, and reading and decompressing a store
releases Python's lock. `BagDataset` plugs into a DataLoader all the same.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from roformermil.bags.dataset import Bag, BagDataset, Batch, pack

AHEAD = 4  # batches in flight, at least


def prefetch_batches(
    data: BagDataset,
    groups: Iterable[list[int]],
    readers: int,
    max_tiles: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Batch]:
    """One batch for each group of slide indices, in order, read by `readers` threads.

    A bag of more than `max_tiles` gives as many of its tiles, drawn by `generator`: afresh at every call.
    Raises what reading a bag raises.
    """
    pool = ThreadPoolExecutor(readers)
    try:
        waiting: deque = deque()
        for group in groups:
            waiting.append([pool.submit(data.__getitem__, k) for k in group])
            if len(waiting) > max(AHEAD, readers):
                yield _packed(waiting.popleft(), max_tiles, generator)
        while waiting:
            yield _packed(waiting.popleft(), max_tiles, generator)
    finally:  # also where the consumer stops early: what is not begun is not read
        pool.shutdown(cancel_futures=True)


def _packed(reading: list, max_tiles: int | None, generator: torch.Generator | None) -> Batch:
    bags = [future.result() for future in reading]
    return pack([bag if max_tiles is None else sample_tiles(bag, max_tiles, generator) for bag in bags])


def sample_tiles(bag: Bag, max_tiles: int, generator: torch.Generator | None) -> Bag:
    """The bag, or `max_tiles` of its tiles, drawn without replacement and left in their order."""
    if len(bag.grid) <= max_tiles:
        return bag
    chosen = torch.randperm(len(bag.grid), generator=generator)[:max_tiles].sort().values
    return bag._replace(features=bag.features[chosen], grid=bag.grid[chosen])
