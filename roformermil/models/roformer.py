"""The blocks between input projection and head: RoFormer blocks, or feed-forward blocks with as many parameters."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.utils.checkpoint import checkpoint

from roformermil.models.attention import attend, attend_alibi
from roformermil.models.rope import RotaryEncoding, alibi_slopes, from_lowest

CHUNK_TILES = 4096  # tiles that go through the feed-forward layer at a time


class Dropout(nn.Dropout):
    """Torch's dropout; on a CPU too it keeps one byte per value for the backward pass instead of four."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.native_dropout(input, self.p, self.training)[0] if self.training and self.p else input


class SelfAttention(nn.Module):
    """Multi-head self-attention over the tiles of each bag (paper, section 2.2).

    Positions enter by rotary encoding with `rope`, by scores that fall with distance with `alibi`, else not at all.
    """

    def __init__(
        self, dim: int, num_heads: int, rope: RotaryEncoding | None, alibi: bool = False, locality: float = 0.0
    ):
        """locality: with `rope`, what equal biases of queries and keys add to a tile's score with itself at the start; less to
        that with distant tiles."""
        super().__init__()
        self.num_heads, self.rope = num_heads, rope
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        if rope is not None and locality:
            # equal biases b of query and key add b.R(p)b / sqrt(d) to a score: a mean of cosines of the distance p
            head_dim = dim // num_heads
            nn.init.constant_(self.qkv.bias[: 2 * dim], (locality / head_dim**0.5) ** 0.5)
        self.register_buffer("slopes", alibi_slopes(num_heads) if alibi else None, persistent=False)
        self.slopes: Tensor | None

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).unbind(1)  # (T, H, D / H) each
        if self.rope is not None:
            angles = self.rope.angles(from_lowest(grid, lengths))
            q, k = self.rope.rotate(q, angles), self.rope.rotate(k, angles)
            v = v.contiguous()  # frees the memory of q and k before their rotation
        if self.slopes is not None:
            return self.out(attend_alibi(q, k, v, grid, self.slopes, lengths).flatten(1))  # (T, D)
        return self.out(attend(q, k, v, lengths).flatten(1))  # (T, D)


class FeedForward(nn.Module):
    """Two linear layers around a GELU in its tanh form: (T, D) -> (T, D).

    The hidden layer is the widest tensor of the model. Its GELU (not the second product) is computed again in the backward
    pass instead of being kept, and tiles go through in chunks: more tiles need no more memory in the backward pass.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.widen, self.narrow = nn.Linear(dim, width), nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = (self.widen(chunk) for chunk in x.split(CHUNK_TILES))  # (<= CHUNK_TILES, width) each
        if not torch.is_grad_enabled():  # checkpoint would import torch's compiler: 1 to 2 s per process
            return torch.cat([self._finish(h) for h in hidden])
        return torch.cat([checkpoint(self._finish, h, use_reentrant=False, preserve_rng_state=False) for h in hidden])

    def _finish(self, hidden: Tensor) -> Tensor:
        return self.narrow(gelu(hidden, approximate="tanh"))


class RoFormerBlock(nn.Module):
    """Pre-norm transformer block (paper, figure 1): attention, then feed-forward, each added to its input."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        dropout: float,
        rope: RotaryEncoding | None,
        alibi: bool = False,
        locality: float = 0.0,
    ):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), SelfAttention(dim, num_heads, rope, alibi, locality)
        self.norm2, self.mlp = nn.LayerNorm(dim), FeedForward(dim, 4 * dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), grid, lengths))  # (T, D)
        return x + self.dropout(self.mlp(self.norm2(x)))  # (T, D)


class FeedForwardBlock(nn.Module):
    """The block of the plain models: it treats each tile alone, with as many parameters as a RoFormer block to within 0.1%.

    The paper gives its baselines equal capacity (4.2M parameters) without naming their layers. Here a feed-forward layer
    of width 6 D (6 D^2 + 6 D^2 parameters) replaces attention and feed-forward (4 D^2 + 8 D^2): the only difference is
    whether tiles attend to each other.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(dim), FeedForward(dim, 6 * dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        return x + self.dropout(self.mlp(self.norm(x)))  # (T, D)
