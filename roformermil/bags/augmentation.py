"""What training changes in a bag each time it is seen, so that little data goes further; and shuffled positions, which tell
whether a model uses them."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from roformermil.bags.dataset import Bag
from roformermil.bags.folds import derive_seed

ORIENTATIONS = 8  # of a square grid: four right angles, mirrored or not
SCALES = (0.8, 1.25)
SHUFFLE_REPEATS = 5


@dataclass(frozen=True)
class Augmentation:
    """Called with a bag, returns some of its tiles at other grid positions."""

    mode: str  # of `augment`
    max_tiles: int | None
    tile_fraction: float
    tiles: Generator  # draws tiles
    grid: Generator  # draws orientations: of its own, so that `mode` changes nothing else

    def __call__(self, bag: Bag) -> Bag:
        count = math.ceil(self.tile_fraction * len(bag.grid))
        bag = sample_tiles(bag, min(count, self.max_tiles or count), self.tiles)
        return bag.with_moved_tiles(lambda grid, _: augment(grid, self.mode, self.grid))


def sample_tiles(bag: Bag, count: int, generator: Generator) -> Bag:
    """The bag, or `count` of its tiles where it has more, drawn without replacement and kept in order."""
    if len(bag.grid) <= count:
        return bag
    chosen = torch.randperm(len(bag.grid), generator=generator)[:count].sort().values
    slides = torch.arange(len(bag.slide_ids)).repeat_interleave(torch.tensor(bag.slide_lengths))[chosen]
    counts = zip(bag.slide_ids, slides.bincount(minlength=len(bag.slide_ids)).tolist(), strict=True)
    slide_ids, slide_lengths = zip(*((slide_id, tiles) for slide_id, tiles in counts if tiles), strict=True)
    return Bag(bag.features[chosen], bag.grid[chosen], bag.target, list(slide_ids), list(slide_lengths))


def augment(grid: Tensor, mode: str, generator: Generator) -> Tensor:
    """`grid` (n, 2) as it might have lain on the glass, with the same lowest x and y.

    mode: `none`; `flip`, one of the eight orientations, which keep integers; `rotate`, any angle, mirrored or not, scaled by
    0.8 to 1.25 (float32).
    """
    if mode == "none":
        return grid
    if mode == "flip":
        return orient(grid, int(torch.randint(ORIENTATIONS, (), generator=generator)))
    turn, size, mirrored = torch.rand(3, generator=generator).tolist()
    angle, scale = 2 * math.pi * turn, SCALES[0] * (SCALES[1] / SCALES[0]) ** size
    along, across = scale * math.cos(angle), scale * math.sin(angle)
    sign = -1.0 if mirrored < 0.5 else 1.0
    return _move_back(grid.float() @ torch.tensor([[along, sign * across], [-across, sign * along]]), grid)


def orient(grid: Tensor, orientation: int) -> Tensor:
    """`grid` (n, 2) in one of the eight orientations (0 is its own), with the same lowest x and y."""
    turned = grid.flip(1) if orientation & 4 else grid
    signs = torch.tensor([-1 if orientation & 1 else 1, -1 if orientation & 2 else 1], device=grid.device)
    return _move_back(turned * signs.to(grid.dtype), grid)


def shuffle_bag(bag: Bag, repeat: int) -> Bag:
    """The bag with the positions of each slide's tiles shuffled within the slide, as of `shuffle_positions`."""
    return bag.with_moved_tiles(lambda grid, slide_id: shuffle_positions(grid, slide_id, repeat))


def shuffle_positions(grid: Tensor, slide_id: str, repeat: int) -> Tensor:
    """The positions of `grid` (n, 2), exchanged among the tiles at random: for every model the same, by slide and repeat."""
    generator = Generator().manual_seed(derive_seed("shuffle", slide_id, repeat))
    return grid[torch.randperm(len(grid), generator=generator).to(grid.device)]


def _move_back(moved: Tensor, grid: Tensor) -> Tensor:
    """`moved` where `grid` lies: an absolute encoding (`sine`) would see other places in training than in evaluation."""
    return moved - moved.amin(dim=0) + grid.amin(dim=0)
