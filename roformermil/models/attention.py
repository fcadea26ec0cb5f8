"""Exact self-attention within each bag of a packed batch, without ever holding a T x T matrix."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def attend(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """Softmax attention of each bag over itself. q, k, v: (T, H, d) packed; returns (T, H, d).

    Bag by bag through PyTorch's fused kernel, whose memory grows linearly with a bag's tiles. No dropout in here: with
    it the CPU kernel falls back to the quadratic form.
    """
    bags = zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
    return torch.cat([_attend_one(*bag) for bag in bags])


def _attend_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))  # (1, H, N, d)
    return scaled_dot_product_attention(q, k, v).squeeze(0).transpose(0, 1)  # (N, H, d)
