"""ABMIL: attention-based pooling (Ilse et al. 2018, arXiv 1802.04712), one multi-head query a class as in the paper."""

import torch
from torch import Tensor, nn

from roformermil.models.dropout import Dropout


class ABMILHead(nn.Module):
    """One learned query a class attends over the bag; what it gathers is scored by that class's own linear layer."""

    def __init__(self, dim: int, classes: int, attention_dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.scale = heads, (attention_dim // heads) ** -0.5
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), Dropout(dropout))
        self.queries = nn.Parameter(torch.randn(classes, attention_dim))  # smaller, and training starts on a plateau
        self.keys = nn.Linear(dim, attention_dim)
        self.values = nn.Linear(dim, attention_dim)
        self.out = nn.Linear(attention_dim, dim)
        self.classifiers = nn.Linear(dim, classes)  # row c scores class c's own vector

    def forward(self, x: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        weights, v = self._attend(x, lengths)
        pooled = [torch.einsum("nhc,nhd->chd", w, u) for w, u in zip(weights, v.split(lengths), strict=True)]
        z = self.out(torch.stack(pooled).flatten(-2))  # (B, C, D)
        logits = (z * self.classifiers.weight).sum(-1) + self.classifiers.bias  # (B, C)
        return logits, torch.cat(weights).mean(dim=1), None  # attention: mean over heads

    def contributions(self, x: Tensor, lengths: list[int]) -> Tensor:
        """What each tile adds to each logit: (T, C); a bag's sum to its logits without the biases."""
        weights, v = self._attend(x, lengths)
        scored = self.classifiers.weight @ self.out.weight  # (C, H d): the linear way from pooled values to logits
        return torch.einsum("thc,thd,chd->tc", torch.cat(weights), v, scored.unflatten(-1, (self.heads, -1)))

    def _attend(self, x: Tensor, lengths: list[int]) -> tuple[list[Tensor], Tensor]:
        """Each bag's weights (N, H, C), and all tiles' values (T, H, d)."""
        x = self.project(x)  # (T, D)
        q = self.queries.unflatten(-1, (self.heads, -1)) * self.scale  # (C, H, d)
        k = self.keys(x).unflatten(-1, (self.heads, -1))  # (T, H, d)
        v = self.values(x).unflatten(-1, (self.heads, -1))  # (T, H, d)
        scores = torch.einsum("thd,chd->thc", k, q)  # (T, H, C)
        return [s.softmax(dim=0) for s in scores.split(lengths)], v  # each bag's tiles sum to 1
