import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from roformermil.models import build_model, transmil
from roformermil.models.build import parameter_count
from roformermil.models.transmil import PPEG, NystromAttention, pseudo_inverse, raster_order


def test_at_the_papers_size_the_number_of_parameters_is_the_published_one():
    """2.67 M: TransMIL's paper, table of model sizes, for 1024 values per tile and two classes."""
    assert parameter_count(build_model({"name": "transmil"}, 1024, 2)) == 2_672_146


def exact_attention(layer, x):
    """What the layer computes without the approximation by landmarks, and the weights of the first token."""
    q, k, v = layer.qkv(x).unflatten(-1, (3, layer.num_heads, 16)).permute(1, 2, 0, 3)
    exact = scaled_dot_product_attention(q, k, v) + layer.skip(v.unsqueeze(0)).squeeze(0)
    return layer.out(exact.transpose(0, 1).flatten(1)), (q[:, :1] @ k.mT / 4).softmax(-1).mean(dim=(0, 1))


def test_with_one_landmark_per_token_attention_is_exact(monkeypatch):
    monkeypatch.setattr(transmil, "PINV_STEPS", 60)  # until the inverse has converged
    torch.manual_seed(0)
    layer = NystromAttention(64, num_heads=4).double()
    x = torch.randn(20, 64, dtype=torch.float64)
    for approximate, exact in zip(layer(x), exact_attention(layer, x), strict=True):
        assert torch.allclose(approximate, exact, atol=1e-6)


def test_landmarks_approximate_attention_of_similar_tokens():
    torch.manual_seed(0)
    layer = NystromAttention(32, num_heads=2)
    kinds = torch.randn(4, 32)
    x = kinds.repeat_interleave(64, dim=0) + 0.01 * torch.randn(256, 32)  # 16 landmarks for 4 kinds
    assert torch.allclose(layer(x)[0], exact_attention(layer, x)[0], atol=0.02)


def test_pseudo_inverse_against_linear_algebra():
    a = (3 * torch.eye(8) + torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(0))).softmax(dim=-1)
    assert torch.allclose(pseudo_inverse(a), torch.linalg.pinv(a), atol=1e-3)


def test_attention_of_a_large_slide_survives_fp16():
    """A tile's share of 20,000 is below the smallest normal number of half precision."""

    class FixedWeights(torch.nn.Module):
        def forward(self, x, side):
            return x, weights.half()

    head = build_model({"name": "transmil", "hidden_dim": 8, "num_heads": 2}, 8, 2).head
    head.modules_ = torch.nn.ModuleList([FixedWeights()])
    weights = torch.rand(1 + 142 * 142, generator=torch.Generator().manual_seed(0)) / 10_000
    weights[1 + 20_000 :] = 0  # the tiles that fill up the square
    grid = torch.stack((torch.arange(20_000) % 142, torch.arange(20_000) // 142), dim=1)
    _, attention = head._run_bag(torch.zeros(20_000, 8), grid)
    expected = weights[1:20_001] / weights[1:20_001].sum()
    assert attention.sum().item() == pytest.approx(1, abs=1e-4)
    assert (attention - expected).abs().max() < 0.02 * expected.max()


def test_raster_order_is_row_by_row():
    grid = torch.tensor([[5, -2], [1, 3], [0, 3], [-1, -2]])
    assert raster_order(grid).tolist() == [3, 0, 2, 1]


def test_ppeg_adds_three_convolutions_to_all_but_the_class_token():
    torch.manual_seed(0)
    layer, x = PPEG(3), torch.randn(1 + 16, 3)
    out = layer(x, 4)
    assert torch.equal(out[0], x[0])
    square = x[1:].view(4, 4, 3)
    spot = square[1, 2].clone()
    for conv in layer.convolutions:  # by hand at row 1, column 2
        half = conv.kernel_size[0] // 2
        spot += conv.bias
        for dy in range(-half, half + 1):
            for dx in range(-half, half + 1):
                if 0 <= 1 + dy < 4 and 0 <= 2 + dx < 4:
                    spot += conv.weight[:, 0, dy + half, dx + half] * square[1 + dy, 2 + dx]
    assert torch.allclose(out[1 + 4 + 2], spot, atol=1e-5)
