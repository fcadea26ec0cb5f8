import pytest
import torch
from torch.nn.functional import adaptive_avg_pool1d, scaled_dot_product_attention

from roformermil.models import build_model, transmil
from roformermil.models.roformer import Dropout
from roformermil.models.transmil import PPEG, NystromAttention, SegmentMeans, pseudo_inverse, raster_order


def exact_attention(layer, x):
    """What the layer computes without the approximation by landmarks, and the weights of the first token."""
    q, k, v = layer.qkv(x).unflatten(-1, (3, layer.num_heads, 16)).permute(1, 2, 0, 3)
    exact = scaled_dot_product_attention(q, k, v) + layer.skip(v.unsqueeze(0)).squeeze(0)
    return layer.out(exact.transpose(0, 1).flatten(1)), (q[:, :1] @ k.mT / 4).softmax(-1).mean(dim=(0, 1))


def test_with_one_landmark_per_token_attention_is_exact(monkeypatch):
    monkeypatch.setattr(transmil, "PINV_STEPS", 60)  # until the inverse has converged
    torch.manual_seed(0)
    layer, x = NystromAttention(64, num_heads=4).double(), torch.randn(20, 64, dtype=torch.float64)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(layer(x), exact_attention(layer, x), strict=True))


def test_landmarks_approximate_attention_of_similar_tokens():
    torch.manual_seed(0)
    layer, kinds = NystromAttention(32, num_heads=2), torch.randn(4, 32).repeat_interleave(64, dim=0)
    x = kinds + 0.01 * torch.randn(256, 32)  # 16 landmarks for 4 kinds
    assert torch.allclose(layer(x)[0], exact_attention(layer, x)[0], atol=0.02)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (6, 5), (9, 5), (10, 5), (23, 5), (7, 1), (1, 1), (1000, 256)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_segment_means_and_their_gradients_are_those_of_torchs_pooling_to_the_bit(n, m, dtype):
    x = torch.randn(2, n, 3, dtype=dtype, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out, expected = SegmentMeans.apply(x, m), adaptive_avg_pool1d(x.mT, m).mT
    weight = torch.randn(2, m, 3, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(out, expected)
    assert torch.equal(*(torch.autograd.grad((y * weight).sum(), x)[0] for y in (out, expected)))


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
    assert abs(attention.sum() - 1) < 1e-4 and (attention - expected).abs().max() < 0.02 * expected.max()


def test_dropout_follows_both_attention_layers(monkeypatch):
    """Dropout multiplies by 1 + p here."""
    monkeypatch.setattr(Dropout, "forward", lambda self, x: x * (1 + self.p))
    torch.manual_seed(0)
    model = build_model({"name": "transmil", "hidden_dim": 8, "num_heads": 2, "num_layers": 2, "dropout": 0.375}, 4, 2)
    for module in model.head.modules_:
        x = torch.randn(5, 8)
        between = module.position(x + 1.375 * module.attention1(module.norm1(x))[0], 2)
        expected, weights = module.attention2(module.norm2(between))
        assert torch.equal(module(x, 2)[0], between + 1.375 * expected) and torch.equal(module(x, 2)[1], weights)


def test_the_head_by_hand():
    """Five tiles, row by row after a ReLU, and the first four again fill a square of nine behind the class token."""
    torch.manual_seed(0)
    model = build_model({"name": "transmil", "hidden_dim": 8, "num_heads": 2, "num_layers": 2}, 4, 3).eval()
    features, grid = torch.randn(5, 4), torch.tensor([[5, 2], [0, 9], [1, 2], [7, 0], [3, 9]])
    h, order = model.project(features).clamp(min=0), [3, 2, 0, 1, 4]
    x = torch.stack([model.head.token[0], *(h[k] for k in order), *(h[k] for k in order[:4])])
    for module in model.head.modules_:
        x, weights = module(x, 3)
    token = (x[0] - x[0].mean()) / (x[0].var(correction=0) + 1e-5).sqrt()
    token = token * model.head.norm.weight + model.head.norm.bias
    expected = dict.fromkeys(range(5), 0.0)
    for place, weight in enumerate(weights[1:].clamp(min=0).tolist()):
        expected[order[place % 5]] += weight
    out = model(features, grid, [5])
    assert torch.allclose(out.logits[0], model.head.classifier.weight @ token + model.head.classifier.bias, atol=1e-6)
    shares = torch.tensor(list(expected.values())) / sum(expected.values())
    assert torch.allclose(out.attention, shares.unsqueeze(1).expand(5, 3), atol=1e-6)


def test_raster_order_is_row_by_row():
    assert raster_order(torch.tensor([[5, -2], [1, 3], [0, 3], [-1, -2]])).tolist() == [3, 0, 2, 1]


def test_ppeg_adds_three_convolutions_to_all_but_the_class_token():
    torch.manual_seed(0)
    layer, x = PPEG(3), torch.randn(1 + 16, 3)
    out, square = layer(x, 4), x[1:].view(4, 4, 3)
    assert torch.equal(out[0], x[0])
    spot = square[1, 2].clone()
    for conv in layer.convolutions:  # by hand at row 1, column 2
        half = conv.kernel_size[0] // 2
        spot += conv.bias
        for dy in range(-half, half + 1):
            for dx in range(-half, half + 1):
                if 0 <= 1 + dy < 4 and 0 <= 2 + dx < 4:
                    spot += conv.weight[:, 0, dy + half, dx + half] * square[1 + dy, 2 + dx]
    assert torch.allclose(out[1 + 4 + 2], spot, atol=1e-5)
