"""Mean pooling: every tile counts the same (the mean operator in Ilse et al. 2018, arXiv 1802.04712, section 2.2)."""

import torch
from torch import Tensor, nn

from roformermil.models.dropout import Dropout


class MeanHead(nn.Module):
    """The bag's mean vector is classified."""

    def __init__(self, dim: int, classes: int, dropout: float):
        super().__init__()
        self.dropout, self.classifier = Dropout(dropout), nn.Linear(dim, classes)

    def forward(self, x: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        pooled = torch.stack([u.mean(dim=0) for u in self.dropout(x).split(lengths)])  # (B, D)
        logits = self.classifier(pooled)  # (B, C)
        share = torch.cat([u.new_full((len(u), logits.shape[1]), 1 / len(u)) for u in x.split(lengths)])
        return logits, share, None

    def contributions(self, x: Tensor, lengths: list[int]) -> Tensor:
        """What each tile adds to each logit: (T, C); a bag's sum to its logits without the biases."""
        _, share, _ = self(x, lengths)  # (T, C)
        return share * (self.dropout(x) @ self.classifier.weight.T)
