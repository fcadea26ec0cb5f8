"""The bags of the arrangement benchmark differ in arrangement only: with any other difference, its AUROC would prove nothing."""

from itertools import islice

import numpy as np
import pytest
import torch

from benchmarks import arrangement as bench


@pytest.fixture
def pool() -> bench.Pool:
    """Tiles of the three kinds whose vectors tell their kind."""
    rng = np.random.default_rng(0)
    return [rng.normal(kind, 0.1, (20, 4)).astype(np.float32) for kind in range(3)]


def _check_arrangement(bags: torch.Tensor, grids: torch.Tensor, labels: torch.Tensor) -> None:
    kinds = bags.mean(-1).round()
    assert [(kinds[0] == k).sum().item() for k in range(3)] == [bench.TILES_PER_KIND, bench.TILES_PER_KIND, 80]
    for bag, positions, label in zip(kinds, grids, labels, strict=True):
        assert len(positions.unique(dim=0)) == bench.TILES and 0 <= positions.min() <= positions.max() < bench.GRID
        a, b = positions[bag == 0], positions[bag == 1]
        nearest = (a[:, None] - b).abs().amax(-1).amin(1)  # Chebyshev
        assert (nearest == 1).all() if label else (nearest > bench.APART).all()


def test_classes_differ_in_arrangement_only(pool):
    features, grid, labels = next(bench.batches(pool, seed=1, size=40))
    bags, grids = features.view(40, bench.TILES, 4), grid.view(40, bench.TILES, 2)
    assert torch.equal(bags[0::2], bags[1::2])  # pairs of bags with the same tiles
    assert labels.tolist() == [0, 1] * 20
    _check_arrangement(bags, grids, labels)


def test_fixed_set_is_repeated_with_tiles_of_its_own_for_each_bag(pool):
    drawn = bench.bag_set(pool, seed=1, bags=8)
    bags, grids = drawn[0].unflatten(0, (8, -1)), drawn[1].unflatten(0, (8, -1))
    assert not torch.equal(bags[0], bags[1]) and drawn[2].tolist() == [0, 1] * 4
    _check_arrangement(bags, grids, drawn[2])
    for first in (0, 2):  # two passes of two batches: every bag once in each
        passed = list(islice(bench.repeated(drawn, seed=3, augment_grid="none"), first, first + 2))
        seen = torch.cat([features.unflatten(0, (-1, bench.TILES)) for features, _, _ in passed])
        again = {bag.numpy().tobytes() for bag in seen}
        assert again == {bag.numpy().tobytes() for bag in bags}
        assert sum(len(labels) for _, _, labels in passed) == 8


def test_augmentation_moves_bags_of_the_fixed_set_and_nothing_else(pool):
    drawn = bench.bag_set(pool, seed=1, bags=8)
    plain, flipped = (next(bench.repeated(drawn, seed=3, augment_grid=mode)) for mode in ("none", "flip"))
    assert torch.equal(plain[0], flipped[0]) and torch.equal(plain[2], flipped[2])
    assert not torch.equal(plain[1], flipped[1])
    distances = [torch.cdist(x[1][: bench.TILES].float(), x[1][: bench.TILES].float()) for x in (plain, flipped)]
    assert torch.allclose(*distances, atol=1e-3)


def test_shuffled_bags_keep_their_positions_but_exchange_them(pool):
    grid = next(bench.batches(pool, seed=1, size=2))[1]
    shuffled = bench.shuffle_bags(grid)
    assert not torch.equal(shuffled, grid)
    for before, after in zip(grid.split(bench.TILES), shuffled.split(bench.TILES), strict=True):
        assert sorted(before.tolist()) == sorted(after.tolist())


def test_training_and_test_share_no_tile():
    train, test, _ = bench.tile_pools(np.random.default_rng(0))
    assert not any((a[:, None] == b).all(-1).any() for a, b in zip(train, test, strict=True))
