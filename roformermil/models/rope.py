"""Position encodings of the 2-D grid: rotary and ALiBi (relative), sine (absolute)."""

import math
from typing import Any

import torch
from torch import Tensor, nn


class RotaryEncoding(nn.Module):
    """Rotary encoding of a 2-D grid position (RoFormer, Su et al. 2021, arXiv 2104.09864; paper, section 2.2).

    The first half of a head rotates with x, the second with y. In each half, neighbours (0, 1), (2, 3), ... are pairs, and
    pair i rotates by position * frequency_i, so that the product of a query and a key depends on their distance alone.
    Frequencies: `pixel`, pi / 400 * linspace(1, 200); `lang`, 10000^(-2i / (head_dim / 2)) as in language models.
    """

    def __init__(self, head_dim: int, frequencies: str = "pixel", scale: float = 1.0):
        super().__init__()
        pairs = head_dim // 4  # pairs per axis
        values = torch.linspace(1, 200, pairs) * (math.pi / 400)
        if frequencies == "lang":
            values = 10000.0 ** (-torch.arange(pairs) / pairs)
        self.scale, self.exact = scale, values
        self.register_buffer("frequencies", values.clone(), persistent=False)
        self.frequencies: Tensor

    def _apply(self, fn: Any, recurse: bool = True) -> "RotaryEncoding":
        """Move with the model to a device or to a wider type, but not to half precision, which would distort far positions."""
        super()._apply(fn, recurse)
        self.frequencies = self.exact.to(
            self.frequencies.device, torch.promote_types(self.frequencies.dtype, torch.float32)
        )
        return self

    def angles(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines for `grid` (T, 2): (T, 1, head_dim / 2) each, float32 or wider whatever the model's precision."""
        position = grid.to(self.frequencies.dtype) * self.scale  # (T, 2)
        angle = (position[:, :, None] * self.frequencies).flatten(1).unsqueeze(1)  # (T, 1, head_dim / 2): x, then y
        return angle.cos(), angle.sin()

    @staticmethod
    def rotate(x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        """x (T, H, head_dim) with each pair rotated by its angle."""
        cos, sin = angles
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        a, b = exact.unflatten(-1, (-1, 2)).unbind(-1)  # (T, H, head_dim / 2) each
        return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2).to(x.dtype)


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
