"""Mean pooling: every tile has the same weight (the mean operator in Ilse et al. 2018, arXiv 1802.04712, section 2.2)."""

import torch
from torch import Tensor, nn

from roformermil.models.roformer import Dropout


class MeanHead(nn.Module):
    """The bag's mean vector is classified."""

    def __init__(self, dim: int, n_classes: int, dropout: float):
        super().__init__()
        self.dropout, self.classifier = Dropout(dropout), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        pooled = torch.stack([u.mean(dim=0) for u in self.dropout(x).split(lengths)])  # (B, D)
        logits = self.classifier(pooled)  # (B, C)
        weights = torch.cat([x.new_full((n, logits.shape[1]), 1 / n) for n in lengths])  # (T, C)
        return logits, weights, None

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        _, weights, _ = self(x, grid, lengths)  # (T, C)
        return weights * (self.dropout(x) @ self.classifier.weight.T)
