import pickle

import numpy as np
import pytest
import torch
import zarr
from torch.utils.data import DataLoader

from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import FoldRow
from roformermil.errors import BagError, StoreError
from roformermil.features.store import read_store

TILES = {"a": 5, "b": 1, "c": 9}
ROWS = [FoldRow(0, name, name, label, "train") for name, label in zip(TILES, "xyx", strict=True)]


@pytest.mark.parametrize("cache", [0, 1e6])
def test_bags_are_packed_without_padding(make_stores, cache):
    folder = make_stores(TILES)
    data = BagDataset(ROWS, folder, ["x", "y"], cache)
    for _ in range(2):
        (batch,) = DataLoader(data, batch_size=3, collate_fn=pack)
        assert (batch.slide_ids, batch.lengths, batch.targets.tolist()) == (["a", "b", "c"], [5, 1, 9], [0, 1, 0])
        assert batch.features.shape == (15, 16) and batch.features.dtype == torch.float16
        assert np.array_equal(batch.features[5:6].numpy(), read_store(folder / "b.zarr").features)
        assert np.array_equal(batch.grid[6:].numpy(), read_store(folder / "c.zarr").grid)


def test_the_cache_stays_within_its_size_and_that_of_a_loaders_process_starts_empty(make_stores):
    data = BagDataset(ROWS, make_stores(TILES), ["x", "y"], cache_bytes=5 * 16 * 2 + 40)
    assert [data[k] is data[k] for k in range(3)] == [True, True, False]
    copy = pickle.loads(pickle.dumps(data))
    assert not copy._cache and copy[0].slide_ids == ["a"] and copy[0] is copy[0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_unusable_features_name_their_slide(make_stores, value):
    folder = make_stores(TILES)
    zarr.open_group(folder / "a.zarr", mode="r+")["features"][2, 3] = value
    with pytest.raises(BagError, match="slide a: its features contain NaN or infinity; delete /.*a.zarr and encode"):
        BagDataset(ROWS, folder, ["x", "y"])[0]


def test_missing_and_empty_stores_another_encoders_width_and_an_unknown_label_name_their_slide(make_stores):
    folder = make_stores({"a": 5, "c": 0})
    make_stores({"b": 4}, dim=24)
    with pytest.raises(BagError, match="slide c has no tiles"):
        BagDataset(ROWS, folder, ["x", "y"])[2]
    with pytest.raises(StoreError, match=r"d\.zarr"):
        BagDataset([FoldRow(0, "d", "d", "x", "train")], folder, ["x", "y"])[0]
    with pytest.raises(BagError, match="slide b has 24 values per tile, slide a has 16: .*; name files of one encoder"):
        BagDataset(ROWS, folder, ["x", "y"])[1]
    with pytest.raises(BagError, match="slide b has label 'y'; expected one of x, z"):
        BagDataset(ROWS, folder, ["x", "z"])


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_read_the_same_batches(make_stores, start):
    data = BagDataset(ROWS, make_stores(TILES), ["x", "y"])
    (batch,) = DataLoader(data, batch_size=3, collate_fn=pack, num_workers=1, multiprocessing_context=start)
    (expected,) = DataLoader(data, batch_size=3, collate_fn=pack)
    assert batch.slide_ids == expected.slide_ids and torch.equal(batch.features, expected.features)
