"""The arrangement benchmark's bags are what it says: without this, a leak could stand for seeing arrangement."""

import sys

import numpy as np
import torch

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import arrangement as bench


def test_classes_differ_in_arrangement_and_in_nothing_else():
    rng = np.random.default_rng(0)
    pool = [rng.normal(kind, 0.1, (20, 4)).astype(np.float32) for kind in range(3)]
    features, grid, labels = next(bench.batches(pool, seed=1, size=40))
    bags, places = features.view(40, bench.TILES, 4), grid.view(40, bench.TILES, 2)
    assert torch.equal(bags[0::2], bags[1::2])  # the very same tiles, in pairs
    assert labels.tolist() == [0, 1] * 20
    kinds = bags.mean(-1).round()
    assert [(kinds[0] == k).sum().item() for k in range(3)] == [bench.MARKED, bench.MARKED, 80]
    for bag, place, label in zip(kinds, places, labels, strict=True):
        assert len(place.unique(dim=0)) == bench.TILES
        assert place.min() >= 0 and place.max() < bench.GRID
        a, b = place[bag == 0], place[bag == 1]
        nearest = (a[:, None] - b).abs().amax(-1).amin(1)  # Chebyshev
        assert (nearest == 1).all() if label else (nearest > bench.APART).all()


def test_training_and_test_draw_on_different_patches():
    pools, _ = bench.tile_pools(np.random.default_rng(0))
    for train, test in zip(pools["train"], pools["test"], strict=True):
        assert not (train[:, None] == test[None]).all(-1).any()
