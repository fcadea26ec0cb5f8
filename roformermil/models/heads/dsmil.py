"""DSMIL: a dual-stream head (Li et al. 2021, arXiv 2011.08939): the critical tile, and attention by similarity to it."""

import torch
from torch import Tensor, nn

from roformermil.models.roformer import Dropout

QUERY_DIM = 128


class DSMILHead(nn.Module):
    """Every tile is scored. The highest tile of each class is its critical tile; tiles are pooled by similarity to it."""

    def __init__(self, dim: int, n_classes: int, dropout: float):
        super().__init__()
        self.instances = nn.Linear(dim, n_classes)
        self.query = nn.Sequential(nn.Linear(dim, QUERY_DIM), nn.ReLU(), nn.Linear(QUERY_DIM, QUERY_DIM), nn.Tanh())
        self.dropout, self.classifier = Dropout(dropout), nn.Conv1d(n_classes, n_classes, kernel_size=dim)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.instances.weight.dtype)
            scores = self.instances(x)  # (T, C)
            q = self.query(x)  # (T, Q)
            v = self.dropout(x)  # (T, D): the values are the tiles' vectors themselves
            weights, pooled = [], []
            for s, q_bag, v_bag in zip(scores.split(lengths), q.split(lengths), v.split(lengths), strict=True):
                critical = q_bag[s.argmax(dim=0)]  # (C, Q)
                weights.append((q_bag @ critical.T / QUERY_DIM**0.5).softmax(dim=0))  # (N, C)
                pooled.append(weights[-1].T @ v_bag)  # (C, D)
            logits = self.classifier(torch.stack(pooled)).squeeze(-1)  # (B, C)
        return logits, torch.cat(weights), scores

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        _, weights, _ = self(x, grid, lengths)  # (T, C)
        with torch.autocast(x.device.type, enabled=False):
            # (T, C, C): what a tile, pooled with weight 1 for class k, adds to the logit of class c
            scored = torch.einsum("td,ckd->tck", self.dropout(x).to(weights.dtype), self.classifier.weight)
            return torch.einsum("tk,tck->tc", weights, scored)
