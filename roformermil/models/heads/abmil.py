"""ABMIL: attention-based pooling (Ilse et al. 2018, arXiv 1802.04712), with one multi-head query per class as in the paper."""

import torch
from torch import Tensor, nn

from roformermil.models.roformer import Dropout


class ABMILHead(nn.Module):
    """Each class has a learned query that attends to the tiles, and a linear layer that scores what the query pools."""

    def __init__(self, dim: int, n_classes: int, attention_dim: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.scale = num_heads, (attention_dim // num_heads) ** -0.5
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), Dropout(dropout))
        self.queries = nn.Parameter(torch.randn(n_classes, attention_dim))  # with smaller ones training starts slowly
        self.keys, self.values = nn.Linear(dim, attention_dim), nn.Linear(dim, attention_dim)
        self.out = nn.Linear(attention_dim, dim)
        self.classifiers = nn.Linear(dim, n_classes)  # row c scores the pooled vector of class c

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        weights, v = self._attend(x, lengths)
        with torch.autocast(x.device.type, enabled=False):
            pooled = [torch.einsum("nhc,nhd->chd", w, u) for w, u in zip(weights, v.split(lengths), strict=True)]
            z = self.out(torch.stack(pooled).flatten(-2))  # (B, C, D)
            logits = (z * self.classifiers.weight).sum(-1) + self.classifiers.bias  # (B, C)
        return logits, torch.cat(weights).mean(dim=1), None  # attention: mean over heads

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        weights, v = self._attend(x, lengths)
        with torch.autocast(x.device.type, enabled=False):
            to_logit = self.classifiers.weight @ self.out.weight  # (C, H d): from pooled values to each class's logit
            to_logit = to_logit.unflatten(-1, (self.num_heads, -1))  # (C, H, d)
            return torch.einsum("thc,thd,chd->tc", torch.cat(weights), v, to_logit)

    def _attend(self, x: Tensor, lengths: list[int]) -> tuple[list[Tensor], Tensor]:
        """The attention of each bag (N, H, C), which sums to 1 over its N tiles, and the values of all tiles (T, H, d)."""
        x = self.project(x)  # (T, D)
        q = self.queries.unflatten(-1, (self.num_heads, -1)) * self.scale  # (C, H, d)
        k, v = (y.unflatten(-1, (self.num_heads, -1)) for y in (self.keys(x), self.values(x)))  # (T, H, d) each
        scores = torch.einsum("thd,chd->thc", k, q)  # (T, H, C)
        exact = self.queries.dtype
        return [s.softmax(dim=0, dtype=exact) for s in scores.split(lengths)], v.to(exact)
