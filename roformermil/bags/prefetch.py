"""Batches read ahead of their use, by threads: they share the cache of bags and start at once, unlike a DataLoader's
processes, and reading and decompressing a store releases Python's lock."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Generator

from roformermil.bags.dataset import Bag, BagDataset, Batch, pack


def prefetch_batches(
    data: BagDataset,
    groups: Iterable[list[int]],
    readers: int,
    max_tiles: int | None = None,
    generator: Generator | None = None,
) -> Iterator[Batch]:
    """One batch for each group of slide indices, in order, read by `readers` threads.

    Of a bag with more than `max_tiles` tiles, so many are drawn with `generator`. Raises what reading a bag raises.
    """
    pool = ThreadPoolExecutor(readers)
    try:
        pending: deque[list[Future[Bag]]] = deque()
        for group in groups:
            pending.append([pool.submit(data.__getitem__, k) for k in group])
            if len(pending) > max(4, readers):  # batches in flight
                yield _pack_results(pending.popleft(), max_tiles, generator)
        while pending:
            yield _pack_results(pending.popleft(), max_tiles, generator)
    finally:  # where the consumer stops early, what has not begun is not read
        pool.shutdown(cancel_futures=True)


def _pack_results(futures: list[Future[Bag]], max_tiles: int | None, generator: Generator | None) -> Batch:
    return pack([sample_tiles(future.result(), max_tiles, generator) for future in futures])


def sample_tiles(bag: Bag, max_tiles: int | None, generator: Generator | None) -> Bag:
    """The bag, or at most `max_tiles` of its tiles, drawn without replacement and kept in order."""
    if max_tiles is None or len(bag.grid) <= max_tiles:
        return bag
    chosen = torch.randperm(len(bag.grid), generator=generator)[:max_tiles].sort().values
    return bag._replace(features=bag.features[chosen], grid=bag.grid[chosen])
