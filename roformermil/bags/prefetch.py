"""Batches read ahead of their use, by threads: they share the cache of bags and start at once, unlike a DataLoader's
processes, and reading and decompressing a store releases Python's lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from roformermil.bags.dataset import Bag, BagDataset, Batch, pack


def prefetch_batches(
    data: BagDataset, groups: Iterable[list[int]], readers: int, change: Callable[[Bag], Bag] = lambda bag: bag
) -> Iterator[Batch]:
    """One batch for each group of slide indices, in order, read by `readers` threads.

    change: applied to each bag as it is packed, in order, whichever was read first. Raises what reading a bag raises.
    """
    pool = ThreadPoolExecutor(readers)
    try:
        pending: deque[list[Future[Bag]]] = deque()
        for group in groups:
            pending.append([pool.submit(data.__getitem__, k) for k in group])
            if len(pending) > max(4, readers):  # batches in flight
                yield pack([change(future.result()) for future in pending.popleft()])
        while pending:
            yield pack([change(future.result()) for future in pending.popleft()])
    finally:  # where the consumer stops early, what has not begun is not read
        pool.shutdown(cancel_futures=True)
