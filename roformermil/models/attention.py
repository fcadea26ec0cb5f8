"""Exact self-attention within each bag of a packed batch, without ever building a T x T matrix."""

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention

BIAS_BYTES = 64 * 2**20  # of the distance bias in memory at a time


def attend(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """Softmax attention of each bag to itself. q, k, v: (T, H, d) packed; returns (T, H, d).

    On a GPU in half precision all bags go through one packed call, otherwise bag by bag through PyTorch's fused kernel.
    The memory of both is linear in a bag's tiles. There is no dropout here: with it the CPU kernel falls back to the
    quadratic form.
    """
    if _has_packed_kernel(q):
        return _attend_packed(q, k, v, lengths)
    if len(set(lengths)) == 1:  # bags of equal size are a batch already
        return _attend(*(x.unflatten(0, (len(lengths), -1)) for x in (q, k, v))).flatten(0, 1)
    bags = zip(q.split(lengths), k.split(lengths), v.split(lengths), strict=True)
    return torch.cat([_attend(*(x.unsqueeze(0) for x in bag)).squeeze(0) for bag in bags])


def attend_alibi(q: Tensor, k: Tensor, v: Tensor, grid: Tensor, slopes: Tensor, lengths: list[int]) -> Tensor:
    """As `attend`, with slopes[h] times the distance of two tiles on the grid subtracted from their score in head h (ALiBi).

    q, k, v: (T, H, d); grid: (T, 2); slopes: (H,) float32. No fused kernel computes this bias, so it is built for a chunk of
    queries at a time, and again in the backward pass instead of being kept.
    """
    positions = grid.to(torch.promote_types(q.dtype, torch.float32))
    bags = zip(*(x.split(lengths) for x in (q, k, v, positions)), strict=True)
    return torch.cat([_AlibiAttention.apply(*bag, slopes) for bag in bags])


class _AlibiAttention(torch.autograd.Function):
    """Attention of one bag with a distance bias, by chunks of queries. q, k, v: (N, H, d); grid: (N, 2)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, grid: Tensor, slopes: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v, grid, slopes)
        out = torch.empty_like(q)
        for chunk in _query_chunks(grid, slopes):
            out[chunk] = _attend_queries(q[chunk], k, v, grid[chunk], grid, slopes)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, grid, slopes = ctx.saved_tensors
        dq = torch.empty_like(q, memory_format=torch.contiguous_format)
        exact = torch.promote_types(q.dtype, torch.float32)  # hundreds of chunks are summed
        dk, dv = (torch.zeros_like(x, dtype=exact, memory_format=torch.contiguous_format) for x in (k, v))
        for chunk in _query_chunks(grid, slopes):
            inputs = [x.detach().requires_grad_() for x in (q[chunk], k, v)]
            with torch.enable_grad():
                out = _attend_queries(inputs[0], inputs[1], inputs[2], grid[chunk], grid, slopes)
            dq[chunk], dk_part, dv_part = torch.autograd.grad(out, inputs, grad[chunk])
            dk += dk_part
            dv += dv_part
        return dq, dk.to(k.dtype), dv.to(v.dtype), None, None


def _query_chunks(grid: Tensor, slopes: Tensor) -> list[slice]:
    """Slices of a bag's queries whose bias stays within BIAS_BYTES."""
    queries = max(1, BIAS_BYTES // (4 * len(slopes) * len(grid)))
    return [slice(start, start + queries) for start in range(0, len(grid), queries)]


def _attend_queries(q: Tensor, k: Tensor, v: Tensor, q_grid: Tensor, k_grid: Tensor, slopes: Tensor) -> Tensor:
    """Attention of queries q (n, H, d) at q_grid (n, 2) to the keys (N, H, d) of their bag at k_grid (N, 2)."""
    distance = torch.cdist(q_grid, k_grid, compute_mode="donot_use_mm_for_euclid_dist")  # (n, N)
    bias = (-slopes[:, None, None] * distance).to(q.dtype)  # (H, n, N)
    return _attend(q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0), bias).squeeze(0)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """q: (B, n, H, d); k, v: (B, N, H, d); bias: (H, n, N), added to the scaled scores; returns (B, n, H, d)."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # (B, H, n or N, d): the fused kernels need four axes
    return scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias[None]).transpose(1, 2)


def _has_packed_kernel(q: Tensor) -> bool:
    """Whether FlashAttention takes q: half precision, Ampere or later, a head width that is a multiple of 8 up to 256."""
    fits = q.is_cuda and q.dtype in (torch.float16, torch.bfloat16) and q.shape[-1] in range(8, 257, 8)
    return fits and torch.cuda.get_device_capability(q.device) >= (8, 0)


def _attend_packed(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn  # its import warns where there is no GPU

    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, pin_memory=torch.cuda.is_available())
    ends = ends.to(q.device, non_blocking=True)  # from pinned memory, so the host does not wait
    out = varlen_attn(q, k, v, ends, ends, max(lengths), max(lengths))
    assert isinstance(out, Tensor)  # a tuple only with return_aux
    return out
