import numpy as np
import pytest

from roformermil.bags.dataset import BagDataset
from roformermil.bags.folds import FoldRow
from roformermil.bags.statistics import feature_statistics
from roformermil.features.store import read_store


def test_every_slide_counts_alike_and_only_those_given(make_stores):
    tiles = {"a": 3, "b": 90, "c": 10}
    stores = make_stores(tiles, dim=5, shift={"a": 40.0, "b": 43.0, "c": 900.0})
    rows = [FoldRow(0, name, name, "x", "train") for name in tiles]
    mean, std = feature_statistics(BagDataset(rows, stores, ["x"]), [0, 1], readers=2)
    slides = [read_store(stores / f"{name}.zarr").features.astype(float) for name in "ab"]
    expected = np.mean([slide.mean(axis=0) for slide in slides], axis=0)
    variance = np.mean([((slide - expected) ** 2).mean(axis=0) for slide in slides], axis=0)
    assert mean.tolist() == pytest.approx(expected, rel=1e-6) and std.tolist() == pytest.approx(variance**0.5, rel=1e-6)
