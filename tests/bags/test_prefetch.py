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
def test_reading_is_five_batches_ahead_until_the_consumer_stops(data, monkeypatch, stop):
    begun, read_bag = [], data.__getitem__  # the bags whose reading has begun; each takes 0.1 s
    monkeypatch.setattr(BagDataset, "__getitem__", lambda _, k: begun.append(k) or time.sleep(0.1) or read_bag(k))
    batches = prefetch_batches(data, [[k] for k in range(12)], readers=1)
    next(batches)
    batches.close() if stop else time.sleep(1)
    assert len(begun) < 5 if stop else begun == [0, 1, 2, 3, 4]


def test_a_slide_that_cannot_be_read_is_an_error(data):
    for path in (data.stores / "s3.zarr").rglob("zarr.json"):
        path.unlink()
    with pytest.raises(StoreError, match="s3"):
        list(prefetch_batches(data, [[0], [3], [4]], readers=2))
