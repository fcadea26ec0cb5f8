"""Max pooling: the best tile alone decides (the max operator on instances in Ilse et al. 2018, arXiv 1802.04712)."""

import torch
from torch import Tensor, nn

from roformermil.models.dropout import Dropout


class MaxHead(nn.Module):
    """Every tile is scored; a class's logit is its highest score, its attention is on that tile alone."""

    def __init__(self, dim: int, classes: int, dropout: float):
        super().__init__()
        self.dropout, self.classifier = Dropout(dropout), nn.Linear(dim, classes)

    def forward(self, x: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        scores = self.classifier(self.dropout(x))  # (T, C)
        highest, where = zip(*(s.max(dim=0) for s in scores.split(lengths)), strict=True)  # (C,) each, a bag
        alone = [
            torch.zeros_like(s).scatter(0, k.unsqueeze(0), 1) for s, k in zip(scores.split(lengths), where, strict=True)
        ]
        return torch.stack(highest), torch.cat(alone), None

    def contributions(self, x: Tensor, lengths: list[int]) -> Tensor:
        """What each tile adds to each logit: (T, C); a bag's sum to its logits without the biases."""
        _, alone, _ = self(x, lengths)  # (T, C)
        return alone * (self.dropout(x) @ self.classifier.weight.T)
