"""Means and standard deviations of features over bags."""

from collections.abc import Sequence

import torch
from torch import Tensor

from roformermil.bags.dataset import BagDataset
from roformermil.bags.prefetch import prefetch_batches


def feature_statistics(data: BagDataset, bags: Sequence[int], readers: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature over the tiles of `bags`, (F,) float32 each; each bag has equal weight.

    The sums are float64: features whose mean is large have few digits left for their spread.
    """
    total, squares = torch.zeros(2, data.width, dtype=torch.float64)
    for batch in prefetch_batches(data, [[k] for k in bags], readers):
        features = batch.features.double()  # (n, F)
        total += features.mean(dim=0)
        squares += features.square().mean(dim=0)
    mean = total / len(bags)
    return mean.float(), (squares / len(bags) - mean.square()).clamp(min=0).sqrt().float()
