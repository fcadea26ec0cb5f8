import threading
import time

import pytest
import torch

from roformermil.bags.augmentation import sample_tiles
from roformermil.bags.dataset import BagDataset
from roformermil.bags.folds import FoldRow
from roformermil.bags.prefetch import prefetch_batches
from roformermil.errors import StoreError

TILES = {f"s{k}": 3 + 5 * k for k in range(12)}
ROWS = [FoldRow(0, name, name, "x", "train") for name in TILES]


@pytest.fixture
def data(make_stores):
    return BagDataset(ROWS, make_stores(TILES), ["x", "y"])


def drawing():
    """A change of bags that draws 6 tiles with a generator."""
    generator = torch.Generator().manual_seed(0)
    return lambda bag: sample_tiles(bag, 6, generator)


@pytest.mark.parametrize("readers", [1, 3])
def test_batches_come_in_the_order_of_the_groups(data, readers):
    groups = [[5, 2], [11], [0, 1, 3], [4], [6], [7], [8, 9, 10]]
    got = list(prefetch_batches(data, groups, readers))
    expected = [[(f"s{k}", TILES[f"s{k}"]) for k in group] for group in groups]
    assert [list(zip(b.slide_ids, b.lengths, strict=True)) for b in got] == expected
    assert torch.equal(got[0].features[: TILES["s5"]], data[5].features)


def test_slow_bags_change_neither_the_order_nor_the_tiles_drawn(data, monkeypatch):
    groups, read_bag = [[11, 2], [10], [9, 8]], data.__getitem__
    expected = list(prefetch_batches(data, groups, 1, drawing()))
    monkeypatch.setattr(BagDataset, "__getitem__", lambda _, k: time.sleep(0.02 * (k % 3)) or read_bag(k))
    got = list(prefetch_batches(data, groups, 4, drawing()))
    assert [batch.slide_ids for batch in got] == [batch.slide_ids for batch in expected]
    assert all(torch.equal(a.features, b.features) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("stop", [False, True])
def test_reading_is_a_few_batches_ahead_until_the_consumer_stops(data, monkeypatch, stop):
    begun, read_bag = [], data.__getitem__  # the bags whose reading has begun; each takes 0.1 s
    monkeypatch.setattr(BagDataset, "__getitem__", lambda _, k: begun.append(k) or time.sleep(0.1) or read_bag(k))
    batches = prefetch_batches(data, [[k] for k in range(12)], readers=1)
    next(batches)
    if stop:
        batches.close()
        assert len(begun) < 7
        return
    end = time.monotonic() + 60
    while len(begun) < 7 and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)
    assert begun == list(range(7)), "one in use, two packed, four read"
    batches.close()


def test_batches_are_packed_and_pinned_off_the_thread_that_trains(data, monkeypatch):
    """Packing 4 slides of 10,000 tiles takes longer than a GPU's step on them."""
    threads, pinned, empty = set(), [], torch.empty

    def allocate(*shape, pin_memory=False, **options):
        pinned.append(pin_memory)
        return empty(*shape, **options)

    monkeypatch.setattr(torch, "empty", allocate)  # pinned memory needs a GPU
    change = lambda bag: threads.add(threading.get_ident()) or bag  # noqa: E731
    groups = [[5, 2], [11], [0, 1, 3]]
    got = list(prefetch_batches(data, groups, 2, change, pinned=True))
    assert threading.get_ident() not in threads and len(threads) == 1 and pinned == [True] * 9
    for batch, expected in zip(got, prefetch_batches(data, groups, 2), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch[:2], expected[:2], strict=True))
        assert torch.equal(batch.targets, expected.targets) and batch.features.dtype == torch.float16


def test_a_batch_of_one_bag_is_not_copied(make_stores):
    data = BagDataset(ROWS, make_stores(TILES), ["x", "y"], cache_bytes=1e6)
    (batch,) = prefetch_batches(data, [[3]], 1)
    assert batch.features.data_ptr() == data[3].features.data_ptr()


def test_a_slide_that_cannot_be_read_is_an_error(data):
    for path in (data.stores / "s3.zarr").rglob("zarr.json"):
        path.unlink()
    with pytest.raises(StoreError, match="s3"):
        list(prefetch_batches(data, [[0], [3], [4]], readers=2))
