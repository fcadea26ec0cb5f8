"""The bags of the arrangement benchmark differ in arrangement only: with any other difference, its AUROC would prove nothing."""

import numpy as np
import torch

from benchmarks import arrangement as bench


def test_classes_differ_in_arrangement_only():
    rng = np.random.default_rng(0)
    pool = [rng.normal(kind, 0.1, (20, 4)).astype(np.float32) for kind in range(3)]
    features, grid, labels = next(bench.batches(pool, seed=1, size=40))
    bags, grids = features.view(40, bench.TILES, 4), grid.view(40, bench.TILES, 2)
    assert torch.equal(bags[0::2], bags[1::2])  # pairs of bags with the same tiles
    assert labels.tolist() == [0, 1] * 20
    kinds = bags.mean(-1).round()
    assert [(kinds[0] == k).sum().item() for k in range(3)] == [bench.TILES_PER_KIND, bench.TILES_PER_KIND, 80]
    for bag, positions, label in zip(kinds, grids, labels, strict=True):
        assert len(positions.unique(dim=0)) == bench.TILES and 0 <= positions.min() <= positions.max() < bench.GRID
        a, b = positions[bag == 0], positions[bag == 1]
        nearest = (a[:, None] - b).abs().amax(-1).amin(1)  # Chebyshev
        assert (nearest == 1).all() if label else (nearest > bench.APART).all()


def test_training_and_test_share_no_tile():
    pools, _ = bench.tile_pools(np.random.default_rng(0))
    assert not any((a[:, None] == b).all(-1).any() for a, b in zip(pools["train"], pools["test"], strict=True))
