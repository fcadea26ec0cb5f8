"""The scaling of features before a model's first layer."""

import torch
from torch import Tensor, nn

CHUNK_TILES = 4096  # tiles that are normalized at a time
SMALLEST = 0.1  # of the median standard deviation: what a feature is divided by at least


class Normalization(nn.Module):
    """Features less their mean, times a scale. Both are kept with the model's parameters, and are not trained.

    The encoder's vectors end in a ReLU and a mean over pixels: most of their length is a vector that all tiles share, in
    which the first layers' gradients drown (docs/position.md).
    """

    def __init__(self, mean: Tensor, scale: Tensor):
        """mean, scale: (F,)."""
        super().__init__()
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())
        self.mean: Tensor
        self.scale: Tensor

    def forward(self, features: Tensor, dtype: torch.dtype) -> Tensor:
        """features: (T, F) of any float type; returns (T, F) in `dtype`, computed in the type of the mean.

        In half precision the features are never copied as a whole to a wider type.
        """
        if features.requires_grad:
            return ((features.to(self.mean.dtype) - self.mean) * self.scale).to(dtype)
        out = torch.empty_like(features, dtype=dtype)
        for chunk, normalized in zip(features.split(CHUNK_TILES), out.split(CHUNK_TILES), strict=True):
            torch.mul(torch.sub(chunk, self.mean), self.scale, out=normalized)
        return out


def fit_normalization(mean: Tensor, std: Tensor, mode: str) -> Normalization:
    """The normalization to apply to features of this mean and standard deviation, (F,) each.

    mode: `center` subtracts the mean; `standardize` also divides by the standard deviation, or by SMALLEST of the median one
    where that is more: a feature that hardly varies in training may vary a lot on other slides, and would outweigh all others.
    """
    scale = torch.ones_like(std)
    if mode == "standardize":
        divisor = std.clamp(min=SMALLEST * std.median())
        scale = torch.where(divisor > 0, 1 / divisor, scale)
    return Normalization(mean, scale)
