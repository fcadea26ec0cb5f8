"""TransMIL (Shao et al. 2021, arXiv 2106.00908): Nystroem attention around a convolution over the tiles' square.

Shapes here are of one bag: n tokens (the class token, then an s x s square of tiles), D, H, m landmarks.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import adaptive_avg_pool1d

from roformermil.models.roformer import Dropout

PINV_STEPS = 6
SKIP_WIDTH = 33  # tokens covered by the convolution parallel to the attention


class TransMILHead(nn.Module):
    """`num_layers` TPT modules (section 3.3; the paper has one), then the class token is classified.

    The paper arranges the tiles in a square in the order of their list. Here they are sorted by row and column first, so the
    order in the store does not matter. Bags are processed one by one.
    """

    def __init__(self, dim: int, n_classes: int, num_heads: int, num_layers: int, dropout: float):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, dim))
        self.modules_ = nn.ModuleList(TPT(dim, num_heads, dropout) for _ in range(num_layers))
        self.norm, self.classifier = nn.LayerNorm(dim), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        bags = zip(x.relu().split(lengths), grid.split(lengths), strict=True)  # the input projection has a ReLU here
        tokens, weights = zip(*(self._run_bag(*bag) for bag in bags), strict=True)  # (D,), (N,) for each bag
        with torch.autocast(x.device.type, enabled=False):
            logits = self.classifier(self.norm(torch.stack(tokens).to(self.token.dtype)))  # (B, C)
        attention = torch.cat(weights).unsqueeze(1).expand(-1, logits.shape[1])  # (T, C), the same for all classes
        return logits, attention, None

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> None:
        return None  # the class token attends to the tiles in layers that are not linear

    def _run_bag(self, x: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """x: (N, D); returns the class token (D,) and its attention to the tiles (N,)."""
        order, side = raster_order(grid), math.ceil(math.sqrt(len(x)))
        extra = side * side - len(x)  # the square is filled up with the first tiles again
        x = torch.cat((self.token, x[order], x[order[:extra]]))  # (n, D)
        for module in self.modules_:
            x, weights = module(x, side)  # (n, D), (n,)
        weights = (
            weights[1:].to(self.token.dtype).clamp(min=0)
        )  # (s * s,); the pseudo-inverse can give small negative ones
        weights = torch.cat((weights[:extra] + weights[len(order) :], weights[extra : len(order)]))  # (N,)
        tiny = torch.finfo(weights.dtype).tiny
        weights = (weights + tiny) / (weights.sum() + tiny * len(weights))
        return x[0], torch.empty_like(weights).scatter(0, order, weights)  # in the order of the bag


def raster_order(grid: Tensor) -> Tensor:
    """Indices (N,) that sort grid positions (N, 2) by row, then by column."""
    by_x = grid[:, 0].argsort(stable=True)
    return by_x[grid[by_x, 1].argsort(stable=True)]


class TPT(nn.Module):
    """Transformer layer, pyramid position encoding, transformer layer (section 3.3, figure 3)."""

    def __init__(self, dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.norm1, self.attention1 = nn.LayerNorm(dim), NystromAttention(dim, num_heads)
        self.position = PPEG(dim)
        self.norm2, self.attention2 = nn.LayerNorm(dim), NystromAttention(dim, num_heads)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, side: int) -> tuple[Tensor, Tensor]:
        x = x + self.dropout(self.attention1(self.norm1(x))[0])  # (n, D)
        x = self.position(x, side)  # (n, D)
        out, weights = self.attention2(self.norm2(x))  # (n, D), (n,)
        return x + self.dropout(out), weights


class PPEG(nn.Module):
    """Pyramid position encoding generator: depthwise 7 x 7, 5 x 5 and 3 x 3 convolutions over the square, added."""

    def __init__(self, dim: int):
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(dim, dim, w, padding="same", groups=dim) for w in (7, 5, 3))

    def forward(self, x: Tensor, side: int) -> Tensor:
        square = x[1:].T.unflatten(1, (side, side)).unsqueeze(0)  # (1, D, s, s)
        square = square + sum(conv(square) for conv in self.convolutions)
        return torch.cat((x[:1], square.flatten(2).squeeze(0).T))  # (n, D)


class NystromAttention(nn.Module):
    """Attention by way of D / 2 landmarks, linear in the tokens (Nystroemformer, Xiong et al. 2021, arXiv 2102.03902).

    Landmarks are means of segments of the sequence. Segments overlap where their number does not divide it (the published
    code pads with zeros, which then take part in the softmax). With at most as many tokens as landmarks this is exact
    attention, as far as the inverse has converged.
    """

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads, self.landmarks = num_heads, dim // 2
        self.qkv, self.out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.skip = nn.Conv2d(num_heads, num_heads, (SKIP_WIDTH, 1), padding="same", groups=num_heads, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (n, D); returns (n, D), and the first token's attention to all tokens, mean over heads: (n,)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(1, 2, 0, 3)  # (H, n, D / H) each
        q = q * q.shape[-1] ** -0.5
        m = min(self.landmarks, len(x))
        q_landmarks, k_landmarks = (SegmentMeans.apply(t, m) for t in (q, k))  # (H, m, D / H) each
        to_landmarks = (q @ k_landmarks.mT).softmax(dim=-1)  # (H, n, m)
        between = pseudo_inverse((q_landmarks @ k_landmarks.mT).softmax(dim=-1))  # (H, m, m)
        from_landmarks = (q_landmarks @ k.mT).softmax(dim=-1)  # (H, m, n)
        out = to_landmarks @ (between @ (from_landmarks @ v)) + self.skip(v.unsqueeze(0)).squeeze(0)  # (H, n, D / H)
        first = to_landmarks[:, :1] @ between @ from_landmarks  # (H, 1, n)
        return self.out(out.transpose(0, 1).flatten(1)), first.mean(dim=(0, 1))


class SegmentMeans(torch.autograd.Function):
    """Means of m segments of the sequence x (H, n, d), n >= m: (H, m, d). Segments overlap by a token where m does not divide n.

    They are those of `adaptive_avg_pool1d`, whose backward pass on a GPU adds in any order. This one gathers: a token is in one
    segment, or in two.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, m: int) -> Tensor:
        ctx.tokens = x.shape[1]
        return adaptive_avg_pool1d(x.mT, m).mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        n, m = ctx.tokens, grad.shape[1]
        segment, token = torch.arange(m, device=grad.device), torch.arange(n, device=grad.device)
        start, end = segment * n // m, -(-(segment + 1) * n // m)
        first, last = token * m // n, ((token + 1) * m - 1) // n  # segments that a token is in
        share = grad / (end - start)[:, None]  # (H, m, d)
        return share[:, first] + share[:, last] * (last > first)[:, None], None


def pseudo_inverse(a: Tensor) -> Tensor:
    """Moore-Penrose inverse of a (H, m, m), approximated by iteration (arXiv 2102.03902)."""
    eye = torch.eye(a.shape[-1], device=a.device, dtype=a.dtype)
    columns, rows = (a.sum(dim).amax(-1)[:, None, None] for dim in (-2, -1))  # entries are not negative
    z = a.mT / (columns * rows)
    for _ in range(PINV_STEPS):
        az = a @ z
        z = z @ (13 * eye - az @ (15 * eye - az @ (7 * eye - az))) / 4
    return z
