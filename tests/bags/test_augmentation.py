import math

import pytest
import torch

from roformermil.bags.augmentation import ORIENTATIONS, Augmentation, augment, orient, sample_tiles, shuffle_positions
from roformermil.bags.dataset import Bag

GRID = torch.tensor([[5, 9], [6, 9], [9, 9], [5, 11], [7, 30]], dtype=torch.int32)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bag(tiles=20):
    grid = torch.stack((torch.arange(tiles) % 5, torch.arange(tiles) // 5), dim=1).int()
    return Bag(torch.arange(tiles * 3.0).view(tiles, 3), grid, 1, ["s0"], [tiles])


def distances(grid):
    return torch.cdist(grid.double(), grid.double())


def test_the_eight_orientations_are_those_of_a_square():
    turned = [orient(GRID, k) for k in range(ORIENTATIONS)]
    assert len({tuple(grid.flatten().tolist()) for grid in turned}) == 8
    for grid in turned:
        assert grid.dtype == torch.int32 and grid.amin(dim=0).tolist() == [5, 9], "it lies where it did"
        torch.testing.assert_close(distances(grid), distances(GRID))
    assert torch.equal(turned[0], GRID), "the first is the slide's own"


def test_flips_draw_every_orientation_and_repeat_with_the_seed():
    generator = seeded()
    drawn = [tuple(augment(GRID, "flip", generator).flatten().tolist()) for _ in range(100)]
    assert set(drawn) == {tuple(orient(GRID, k).flatten().tolist()) for k in range(8)}
    again = seeded()
    assert drawn == [tuple(augment(GRID, "flip", again).flatten().tolist()) for _ in range(100)]


def test_rotation_keeps_shapes_but_for_scale_and_mirror():
    generator, scales, angles, signs = seeded(), [], [], set()
    for _ in range(300):
        turned = augment(GRID, "rotate", generator)
        assert turned.dtype == torch.float32 and turned.amin(dim=0).tolist() == [5, 9]
        ratio = distances(turned) / distances(GRID).clamp(min=1e-9)
        off = ~torch.eye(len(GRID), dtype=torch.bool)
        torch.testing.assert_close(ratio[off], ratio[0, 1].expand(int(off.sum())), rtol=1e-4, atol=0)
        (x1, y1), (x2, y2) = (turned[1] - turned[0]).tolist(), (turned[3] - turned[0]).tolist()
        scales.append(ratio[0, 1].item())
        angles.append(math.atan2(y1, x1))
        signs.add(x1 * y2 - y1 * x2 > 0)
    assert 0.8 <= min(scales) < 0.82 and 1.22 < max(scales) <= 1.25 + 1e-5
    assert min(angles) < -3 and max(angles) > 3 and signs == {True, False}


def test_none_is_the_grid_itself():
    assert augment(GRID, "none", seeded()) is GRID


def test_shuffled_positions_are_the_same_places_by_slide_and_repeat():
    grid = bag(50).grid
    shuffled = shuffle_positions(grid, "s0", 0)
    assert sorted(shuffled.tolist()) == sorted(grid.tolist()) and not torch.equal(shuffled, grid)
    assert torch.equal(shuffled, shuffle_positions(grid, "s0", 0))
    assert not torch.equal(shuffled, shuffle_positions(grid, "s0", 1))
    assert not torch.equal(shuffled, shuffle_positions(grid, "s1", 0))


def test_tiles_are_drawn_anew_each_time_without_replacement_and_keep_their_order():
    generator, whole = seeded(), bag()
    first, second = (sample_tiles(whole, 12, generator) for _ in range(2))
    for drawn in (first, second):
        assert len(drawn.grid) == len(drawn.features) == 12
        indices = [whole.grid.tolist().index(position) for position in drawn.grid.tolist()]
        assert indices == sorted(set(indices))
        assert torch.equal(drawn.features, whole.features[indices])  # each vector is still with its position
    assert not torch.equal(first.grid, second.grid) and sample_tiles(whole, 20, generator) is whole


@pytest.mark.parametrize(
    ("max_tiles", "fraction", "expected"), [(None, 1.0, 20), (7, 1.0, 7), (None, 0.33, 7), (5, 0.5, 5), (30, 0.5, 10)]
)
def test_the_smaller_of_share_and_limit_is_drawn(max_tiles, fraction, expected):
    changed = Augmentation("none", max_tiles, fraction, seeded(), seeded())(bag())
    assert len(changed.grid) == len(changed.features) == expected


def test_the_mode_does_not_change_which_tiles_are_drawn():
    drawn = [Augmentation(mode, 8, 1.0, seeded(), seeded())(bag()).features for mode in ("none", "flip", "rotate")]
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
