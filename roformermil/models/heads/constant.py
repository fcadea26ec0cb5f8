"""The head of the model `covariates`, to which tiles make no difference."""

import torch
from torch import Tensor, nn


class ConstantHead(nn.Module):
    """Every bag has the same logits, a learned bias: the covariates' are added to them. All tiles have the same weight."""

    def __init__(self, n_classes: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, x: Tensor, grid: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, None]:
        logits = self.bias.expand(len(lengths), -1)  # (B, C)
        weights = torch.cat([logits.new_full((n, logits.shape[1]), 1 / n) for n in lengths])  # (T, C)
        return logits, weights, None

    def contributions(self, x: Tensor, grid: Tensor, lengths: list[int]) -> Tensor:
        return self.bias.new_zeros(len(x), len(self.bias))  # (T, C)
