import numpy as np
import pytest
import torch

from roformermil.bags.dataset import BagDataset
from roformermil.bags.folds import FoldRow
from roformermil.bags.prefetch import prefetch_batches, sample_tiles
from roformermil.errors import StoreError

TILES = {f"s{k}": 3 + 5 * k for k in range(12)}
ROWS = [FoldRow(0, name, name, "x", "train") for name in TILES]


@pytest.fixture
def data(make_stores):
    return BagDataset(ROWS, make_stores(TILES), ["x", "y"])


@pytest.mark.parametrize("readers", [1, 3])
def test_batches_come_in_the_order_asked_for(data, readers):
    groups = [[5, 2], [11], [0, 1, 3], [4], [6], [7], [8, 9, 10]]
    got = list(prefetch_batches(data, groups, readers))
    assert [b.slide_ids for b in got] == [[f"s{k}" for k in group] for group in groups]
    assert [b.lengths for b in got] == [[TILES[f"s{k}"] for k in group] for group in groups]
    assert torch.equal(got[0].features[: TILES["s5"]], data[5].features)


def test_what_cannot_be_read_is_raised_not_skipped(data):
    for path in (data.stores / "s3.zarr").rglob("zarr.json"):
        path.unlink()
    with pytest.raises(StoreError, match="s3"):
        list(prefetch_batches(data, [[0], [3], [4]], readers=2))


def test_a_limit_draws_afresh_without_replacement_and_keeps_the_order(data):
    generator = torch.Generator().manual_seed(0)
    bag = data[11]
    first, second = (sample_tiles(bag, 20, generator) for _ in range(2))
    for drawn in (first, second):
        assert len(drawn.grid) == len(drawn.features) == 20
        places = [bag.grid.tolist().index(place) for place in drawn.grid.tolist()]
        assert places == sorted(set(places))
        assert torch.equal(drawn.features, bag.features[places])  # each vector still with its place
    assert not torch.equal(first.grid, second.grid)
    assert sample_tiles(bag, len(bag.grid), generator) is bag
    counts = np.array([b.lengths for b in prefetch_batches(data, [[k] for k in range(12)], 1, 20, generator)]).ravel()
    assert counts.tolist() == [min(20, n) for n in TILES.values()]
