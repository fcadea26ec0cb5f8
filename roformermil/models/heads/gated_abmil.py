"""Gated ABMIL: gated attention pooling (Ilse et al. 2018, arXiv 1802.04712, equations 8 and 9)."""

import torch
from torch import Tensor, nn

from roformermil.models.roformer import Dropout


class GatedABMILHead(nn.Module):
    """A tile's weight comes from a tanh branch times a sigmoid gate; the weighted mean of the bag is classified."""

    def __init__(self, dim: int, n_classes: int, attention_dim: int, dropout: float):
        super().__init__()
        self.branch, self.gate = nn.Linear(dim, attention_dim), nn.Linear(dim, attention_dim)
        self.weigh = nn.Linear(attention_dim, 1)
        self.dropout = Dropout(dropout)
        self.classifier = nn.Linear(dim, n_classes)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        scores = self.weigh(self.branch(x).tanh() * self.gate(x).sigmoid())  # (T, 1)
        weights = [s.softmax(dim=0) for s in scores.split(lengths)]  # (N, 1), sums to 1 over each bag
        pooled = [(w * u).sum(dim=0) for w, u in zip(weights, self.dropout(x).split(lengths), strict=True)]
        logits = self.classifier(torch.stack(pooled))  # (B, C)
        return logits, torch.cat(weights).expand(-1, logits.shape[1]), None  # the same attention for all classes

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        _, weights, _ = self(x, grid, lengths)  # (T, C)
        return weights * (self.dropout(x) @ self.classifier.weight.T)
