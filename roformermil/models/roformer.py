"""The layers between the input projection and the head: RoFormer blocks, or feed-forward blocks of equal capacity."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.utils.checkpoint import checkpoint

from roformermil.models.attention import attend, attend_alibi
from roformermil.models.dropout import Dropout
from roformermil.models.rope import RotaryEncoding, alibi_slopes

STRETCH = 4096  # tiles that pass the feed-forward layer at a time


class SelfAttention(nn.Module):
    """Multi-head self-attention of each bag over its tiles, rotary-encoded if `rope` is given (paper, section 2.2).

    With `alibi`, scores fall with distance instead.
    """

    def __init__(self, dim: int, heads: int, rope: RotaryEncoding | None, alibi: bool = False):
        super().__init__()
        self.heads, self.rope = heads, rope
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.register_buffer("slopes", alibi_slopes(heads) if alibi else None, persistent=False)
        self.slopes: Tensor | None

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)  # (T, H, D / H) each
        if self.rope is not None:
            angles = self.rope.angles(grid)
            q, k = self.rope.rotate(q, angles), self.rope.rotate(k, angles)
            v = v.contiguous()  # lets go of the memory of q and k before their rotation
        if self.slopes is not None:
            return self.out(attend_alibi(q, k, v, grid, self.slopes, lengths).flatten(1))  # (T, D)
        return self.out(attend(q, k, v, lengths).flatten(1))  # (T, D)


class FeedForward(nn.Module):
    """Two linear layers around a GELU (its tanh form): (T, D) -> (T, D).

    The hidden layer is the widest thing in the model. Its GELU is computed again in the backward pass instead of being
    kept (recomputation stops there: the second product is not repeated), and the tiles pass in stretches, so that what
    the backward pass allocates does not grow with them.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.widen, self.narrow = nn.Linear(dim, width), nn.Linear(width, dim)

    def forward(self, x: Tensor) -> Tensor:
        hidden = (self.widen(rows) for rows in x.split(STRETCH))  # (<= STRETCH, width) each
        if not torch.is_grad_enabled():  # nothing to keep; checkpoint would import torch's compiler, 1 to 2 s a process
            return torch.cat([self._finish(h) for h in hidden])
        return torch.cat([checkpoint(self._finish, h, use_reentrant=False, preserve_rng_state=False) for h in hidden])

    def _finish(self, hidden: Tensor) -> Tensor:
        return self.narrow(gelu(hidden, approximate="tanh"))


class RoFormerBlock(nn.Module):
    """Pre-norm transformer block (paper, figure 1): attention, then feed-forward, each added to its input."""

    def __init__(self, dim: int, heads: int, dropout: float, rope: RotaryEncoding | None, alibi: bool = False):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), SelfAttention(dim, heads, rope, alibi)
        self.norm2, self.mlp = nn.LayerNorm(dim), FeedForward(dim, 4 * dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), grid, lengths))
        return x + self.dropout(self.mlp(self.norm2(x)))


class FeedForwardBlock(nn.Module):
    """The plain models' block: each tile by itself, as many parameters as a RoFormer block to within 0.1%.

    The paper matches its baselines' capacity (4.2M parameters) without saying by which layers. Here a feed-forward
    layer of width 6 D (6 D^2 + 6 D^2) stands for attention and feed-forward (4 D^2 + 8 D^2): what the two kinds of
    model differ in is whether tiles see each other, and nothing else.
    """

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(dim), FeedForward(dim, 6 * dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        return x + self.dropout(self.mlp(self.norm(x)))
