"""Mean, max and gated attention pooling (Ilse et al. 2018, arXiv 1802.04712): a weighted mean of the tiles is classified."""

import torch
from torch import Tensor, nn

from roformermil.models.roformer import Dropout


class PoolingHead(nn.Module):
    """Logits are linear in the weighted mean of a bag's tiles."""

    dropout: Dropout
    classifier: nn.Linear

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        _, weights, _ = self(x, grid, lengths)  # (T, C)
        with torch.autocast(x.device.type, enabled=False):
            return weights * (self.dropout(x).to(weights.dtype) @ self.classifier.weight.T)

    def classify(self, x: Tensor) -> Tensor:
        """The logits (..., C) of vectors x (..., D)."""
        with torch.autocast(x.device.type, enabled=False):
            return self.classifier(x.to(self.classifier.weight.dtype))


class MeanHead(PoolingHead):
    """Every tile has the same weight: the bag's mean vector is classified (section 2.2)."""

    def __init__(self, dim: int, n_classes: int, dropout: float):
        super().__init__()
        self.dropout, self.classifier = Dropout(dropout), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        exact = self.classifier.weight.dtype
        pooled = [u.mean(dim=0, dtype=exact) for u in self.dropout(x).split(lengths)]  # (D,) for each bag
        logits = self.classify(torch.stack(pooled))  # (B, C)
        weights = torch.cat([logits.new_full((n, logits.shape[1]), 1 / n) for n in lengths])  # (T, C)
        return logits, weights, None


class MaxHead(PoolingHead):
    """Every tile is scored; a class's logit is its highest score, and all its attention is on that tile."""

    def __init__(self, dim: int, n_classes: int, dropout: float):
        super().__init__()
        self.dropout, self.classifier = Dropout(dropout), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        scores = self.classify(self.dropout(x)).split(lengths)  # (N, C) for each bag
        highest, tiles = zip(*(s.max(dim=0) for s in scores), strict=True)  # (C,) each
        weights = [torch.zeros_like(s).scatter(0, k.unsqueeze(0), 1) for s, k in zip(scores, tiles, strict=True)]
        return torch.stack(highest), torch.cat(weights), None


class GatedABMILHead(PoolingHead):
    """A tile's weight comes from a tanh branch times a sigmoid gate (equations 8 and 9)."""

    def __init__(self, dim: int, n_classes: int, attention_dim: int, dropout: float):
        super().__init__()
        self.branch, self.gate = nn.Linear(dim, attention_dim), nn.Linear(dim, attention_dim)
        self.weigh = nn.Linear(attention_dim, 1)
        self.dropout, self.classifier = Dropout(dropout), nn.Linear(dim, n_classes)

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        scores = self.weigh(self.branch(x).tanh() * self.gate(x).sigmoid())  # (T, 1)
        exact = self.classifier.weight.dtype
        weights = [s.softmax(dim=0, dtype=exact) for s in scores.split(lengths)]  # (N, 1), sums to 1 over each bag
        pooled = [(w * u).sum(dim=0) for w, u in zip(weights, self.dropout(x).split(lengths), strict=True)]
        logits = self.classify(torch.stack(pooled))  # (B, C)
        return logits, torch.cat(weights).expand(-1, logits.shape[1]), None  # the same attention for all classes
