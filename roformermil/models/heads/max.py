"""Max pooling: the highest tile alone decides (the max operator on instances in Ilse et al. 2018, arXiv 1802.04712)."""

import torch
from torch import Tensor, nn

from roformermil.models.roformer import Dropout


class MaxHead(nn.Module):
    """Every tile is scored; a class's logit is its highest score, and all its attention is on that tile."""

    def __init__(self, dim: int, n_classes: int, dropout: float):
        super().__init__()
        self.dropout, self.classifier = Dropout(dropout), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        scores = self.classifier(self.dropout(x)).split(lengths)  # (N, C) for each bag
        highest, tiles = zip(*(s.max(dim=0) for s in scores), strict=True)  # (C,) each
        weights = [torch.zeros_like(s).scatter(0, k.unsqueeze(0), 1) for s, k in zip(scores, tiles, strict=True)]
        return torch.stack(highest), torch.cat(weights), None

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        _, weights, _ = self(x, grid, lengths)  # (T, C)
        return weights * (self.dropout(x) @ self.classifier.weight.T)
