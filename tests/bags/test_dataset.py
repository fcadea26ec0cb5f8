import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import FoldRow
from roformermil.errors import BagError, StoreError
from roformermil.features.store import read_store, write_store

TILES = {"a": 5, "b": 1, "c": 9}
ROWS = [FoldRow(0, name, name, label, "train") for name, label in zip(TILES, "xyx", strict=True)]


@pytest.mark.parametrize("cache", [0, 1e6])
def test_bags_are_packed_without_padding(make_stores, cache):
    folder = make_stores(TILES)
    data = BagDataset(ROWS, folder, ["x", "y"], cache)
    for _ in range(2):
        (batch,) = DataLoader(data, batch_size=3, collate_fn=pack)
        assert batch.lengths == [5, 1, 9]
        assert batch.labels.tolist() == [0, 1, 0]
        assert batch.features.shape == (15, 16)
        assert batch.features.dtype == torch.float16
        assert batch.slide_ids == ["a", "b", "c"]
        second = read_store(folder / "b.zarr")
        assert np.array_equal(batch.features[5:6].numpy(), second.features)
        assert np.array_equal(batch.grid[6:].numpy(), read_store(folder / "c.zarr").grid)


def test_the_cache_stays_within_its_room(make_stores):
    data = BagDataset(ROWS, make_stores(TILES), ["x", "y"], cache_bytes=5 * 16 * 2 + 40)
    kept = [data[k] is data[k] for k in range(3)]
    assert kept == [True, True, False]


def test_bad_bags_name_their_slide(make_stores):
    folder = make_stores(TILES)
    store = read_store(folder / "a.zarr")
    write_store(folder / "a.zarr", store.features, store.coords, store.grid, {})
    import zarr

    features = zarr.open_group(folder / "a.zarr", mode="r+")["features"]
    features[2, 3] = np.nan
    with pytest.raises(BagError, match="slide a: its features hold NaN or infinity; delete .*a.zarr and make it anew"):
        BagDataset(ROWS, folder, ["x", "y"])[0]
    with pytest.raises(StoreError, match=r"d\.zarr"):
        BagDataset([FoldRow(0, "d", "d", "x", "train")], folder, ["x", "y"])[0]


def test_another_encoders_width_and_an_unknown_label_name_their_slide(make_stores):
    folder = make_stores({"a": 5, "c": 9})
    make_stores({"b": 4}, dim=24)
    with pytest.raises(BagError, match="slide b has 24 values a tile, slide a has 16"):
        BagDataset(ROWS, folder, ["x", "y"])[1]
    with pytest.raises(BagError, match="slide b: label 'y' is not one of x, z"):
        BagDataset(ROWS, folder, ["x", "z"])


def test_a_bag_without_tiles_names_its_slide(make_stores):
    with pytest.raises(BagError, match="slide a has no tiles"):
        BagDataset(ROWS, make_stores({"a": 0}), ["x", "y"])[0]


def test_a_data_set_goes_to_a_loaders_processes(make_stores):
    data = BagDataset(ROWS, make_stores(TILES), ["x", "y"], 1e6)
    data[0]
    again = pickle.loads(pickle.dumps(data))
    assert again[0].slide_id == "a" and again[0] is again[0], "it reads, and keeps, for itself"


def test_what_was_kept_before_leaves_a_process_its_whole_room(make_stores):
    data = BagDataset(ROWS, make_stores(TILES), ["x", "y"], cache_bytes=5 * 16 * 2)
    assert data[0] is data[0]
    again = pickle.loads(pickle.dumps(data))
    assert again[0] is again[0]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_read_the_same_batches(make_stores, start):
    data = BagDataset(ROWS, make_stores(TILES), ["x", "y"])
    (batch,) = DataLoader(data, batch_size=3, collate_fn=pack, num_workers=1, multiprocessing_context=start)
    (expected,) = DataLoader(data, batch_size=3, collate_fn=pack)
    assert batch.slide_ids == expected.slide_ids and torch.equal(batch.features, expected.features)
