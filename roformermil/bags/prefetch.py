"""Batches read and packed ahead of their use, by threads: they share the cache of bags and start at once, unlike a DataLoader's
processes, and reading, decompressing and packing release Python's lock."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from roformermil.bags.dataset import Bag, BagDataset, Batch, pack
from roformermil.runtime.ahead import compute_ahead


def prefetch_batches(
    data: BagDataset,
    groups: Iterable[list[int]],
    readers: int,
    change: Callable[[Bag], Bag] = lambda bag: bag,
    pinned: bool = False,
) -> Generator[Batch, None, None]:
    """One batch for each group of bags' indices, in order, read by `readers` threads and packed by another.

    change: applied to each bag as it is packed, in order, whichever was read first; pinned: as in `pack`. Raises what reading
    a bag raises.
    """
    return compute_ahead(_pack_batches(data, groups, readers, change, pinned), 1)


def _pack_batches(
    data: BagDataset, groups: Iterable[list[int]], readers: int, change: Callable[[Bag], Bag], pinned: bool
) -> Generator[Batch, None, None]:
    pool = ThreadPoolExecutor(readers)

    def packed(bags: list[Future[Bag]]) -> Batch:
        return pack([change(bag.result()) for bag in bags], pinned)

    try:
        pending: deque[list[Future[Bag]]] = deque()
        for group in groups:
            pending.append([pool.submit(data.__getitem__, k) for k in group])
            if len(pending) > max(4, readers):  # batches in flight
                yield packed(pending.popleft())
        while pending:
            yield packed(pending.popleft())
    finally:  # where the consumer stops early, what has not begun is not read
        pool.shutdown(cancel_futures=True)
