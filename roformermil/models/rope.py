"""Position encodings of the 2-D grid: rotary and ALiBi (relative), sine (absolute)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

LONGEST = 64.0  # grid steps per radian of the slowest of the directed frequencies
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


class RotaryEncoding(nn.Module):
    """Rotary encoding of a 2-D grid position (RoFormer, Su et al. 2021, arXiv 2104.09864; paper, section 2.2).

    Neighbours (0, 1), (2, 3), ... of a head's values are pairs, and each rotates by an angle that is linear in the position:
    the product of a query and a key depends on the displacement between their tiles, (dx, dy), and not on the tiles' places.
    """

    def angles(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for `grid` (T, 2): (T, 1 or H, head_dim / 2) each, float32 or wider whatever the model's precision."""
        raise NotImplementedError

    @staticmethod
    def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """x (T, H, head_dim) with each pair rotated by its angle."""
        cos, sin = angles
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        a, b = exact.unflatten(-1, (-1, 2)).unbind(-1)  # (T, H, head_dim / 2) each
        return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2).to(x.dtype)


class AxisRotaryEncoding(RotaryEncoding):
    """The paper's: the first half of a head rotates with x, the second with y; in each half pair i by position * frequency_i."""

    def __init__(self, head_dim: int, frequencies: str = "pixel", scale: float = 1.0):
        """frequencies: `pixel`, `lang` or `mixed`, as in `axis_frequencies`."""
        super().__init__()
        self.scale, self.exact = scale, axis_frequencies(head_dim // 4, frequencies)
        self.register_buffer("frequencies", self.exact.clone(), persistent=False)
        self.frequencies: Tensor

    def _apply(self, fn: Any, recurse: bool = True) -> "AxisRotaryEncoding":
        """Move with the model to a device or to a wider type, but not to half precision, which would distort far positions."""
        super()._apply(fn, recurse)
        self.frequencies = self.exact.to(
            self.frequencies.device, torch.promote_types(self.frequencies.dtype, torch.float32)
        )
        return self

    def angles(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        position = grid.to(self.frequencies.dtype) * self.scale  # (T, 2)
        angle = (position[:, :, None] * self.frequencies).flatten(1).unsqueeze(1)  # (T, 1, head_dim / 2): x, then y
        return angle.cos(), angle.sin()


class DirectedRotaryEncoding(RotaryEncoding):
    """Rotary encoding whose pair i of head h rotates by x * a_hi + y * b_hi: along a direction of its own, not an axis.

    The vectors (a, b) of a head have lengths from 1 down to 1 / 64 in equal ratios and directions all around, so no direction
    on the glass is preferred. They can be learned from there, as in RoPE-Mixed (Heo et al. 2024, arXiv 2403.13298,
    section 3.2), which draws its directions at random.
    """

    def __init__(self, head_dim: int, num_heads: int, scale: float = 1.0, learned: bool = False):
        super().__init__()
        self.scale, pairs = scale, head_dim // 2
        lengths = LONGEST ** -torch.linspace(0, 1, pairs)
        turns = (torch.arange(num_heads * pairs, dtype=torch.float64) * (2 * math.pi * GOLDEN_RATIO)).view(-1, pairs)
        directions = torch.stack((turns.cos(), turns.sin())).float() * lengths  # (2, H, pairs)
        self.directions: Tensor
        if learned:
            self.directions = nn.Parameter(directions)
        else:
            self.register_buffer("directions", directions)

    def _apply(self, fn: Any, recurse: bool = True) -> "DirectedRotaryEncoding":
        before = self.directions
        super()._apply(fn, recurse)
        if not isinstance(before, nn.Parameter):  # as above
            exact = torch.promote_types(self.directions.dtype, torch.float32)
            self.directions = before.to(self.directions.device, exact)
        return self

    def angles(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        exact = torch.promote_types(self.directions.dtype, torch.float32)
        position = grid.to(exact) * self.scale  # (T, 2)
        x, y = position[:, :, None, None].unbind(1)  # (T, 1, 1) each
        angle = x * self.directions[0] + y * self.directions[1]
        return angle.cos(), angle.sin()

    def along_axes(self, frequencies: Tensor) -> Tensor:
        """The `directions` of fixed `frequencies` (pairs per axis,): x in the first half of a head, y in the second."""
        zeros = torch.zeros_like(frequencies)
        axes = torch.stack((torch.cat((frequencies, zeros)), torch.cat((zeros, frequencies))))  # (2, head_dim / 2)
        return axes[:, None].expand_as(self.directions).clone()


def axis_frequencies(pairs: int, name: str) -> Tensor:
    """The frequencies (pairs,) of one axis, in radians per grid step.

    `pixel`, the paper's: pi / 400 * linspace(1, 200); `lang`, as in language models: 10000^(-i / pairs); `mixed`: every
    second one of either, so that near and far distances differ in several pairs.
    """
    pixel, lang = torch.linspace(1, 200, pairs) * (math.pi / 400), 10000.0 ** (-torch.arange(pairs) / pairs)
    if name == "mixed":
        return torch.where(torch.arange(pairs) % 2 == 0, lang, pixel)
    return lang if name == "lang" else pixel


def from_lowest(grid: Tensor, lengths: list[int]) -> Tensor:
    """`grid` (T, 2) counted from the lowest x and y of each bag: angles of large positions would lose digits."""
    return torch.cat([positions - positions.amin(dim=0) for positions in grid.split(lengths)])


def sine_encoding(grid: Tensor, dim: int) -> Tensor:
    """Absolute sine and cosine embedding of `grid` (T, 2): (T, dim) float32.

    Half of the width is for x, half for y; in each, sine and cosine of position * 10000^(-2i / (dim / 2)) alternate
    (Vaswani et al. 2017, arXiv 1706.03762, on two axes).
    """
    pairs = dim // 4
    frequencies = 10000.0 ** (-torch.arange(pairs, device=grid.device) / pairs)
    angle = grid.float()[:, :, None] * frequencies  # (T, 2, pairs)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)  # (T, dim)


def alibi_slopes(num_heads: int) -> Tensor:
    """How steeply the scores of each head fall with distance: 2^(-8 h / num_heads) for h = 1 ... num_heads, float32.

    ALiBi (Press et al. 2022, arXiv 2108.12409, section 3), with Euclidean distance on the 2-D grid as in Long-MIL
    (Li et al. 2023, arXiv 2311.12885).
    """
    return 2.0 ** (-8.0 * torch.arange(1, num_heads + 1) / num_heads)
