"""The layers between the input projection and the head: RoFormer blocks, or feed-forward blocks of equal capacity."""

from torch import Tensor, nn

from roformermil.models.attention import attend
from roformermil.models.rope import RotaryEncoding


class SelfAttention(nn.Module):
    """Multi-head self-attention of each bag over its tiles, rotary-encoded if `rope` is given (paper, section 2.2)."""

    def __init__(self, dim: int, heads: int, rope: RotaryEncoding | None):
        super().__init__()
        self.heads, self.rope = heads, rope
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)  # (T, H, D / H) each
        if self.rope is not None:
            angles = self.rope.angles(grid)
            q, k = self.rope.rotate(q, angles), self.rope.rotate(k, angles)
        return self.out(attend(q, k, v, lengths).flatten(1))  # (T, D)


class FeedForward(nn.Sequential):
    """Two linear layers around a GELU (its tanh form): (T, D) -> (T, D)."""

    def __init__(self, dim: int, width: int):
        super().__init__(nn.Linear(dim, width), nn.GELU(approximate="tanh"), nn.Linear(width, dim))


class RoFormerBlock(nn.Module):
    """Pre-norm transformer block (paper, figure 1): attention, then feed-forward, each added to its input."""

    def __init__(self, dim: int, heads: int, rope: RotaryEncoding | None, dropout: float):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(dim), SelfAttention(dim, heads, rope)
        self.norm2, self.mlp = nn.LayerNorm(dim), FeedForward(dim, 4 * dim)
        self.dropout = nn.Dropout(dropout)

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
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        return x + self.dropout(self.mlp(self.norm(x)))
