import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from roformermil.models import build_model
from roformermil.models.normalization import CHUNK_TILES, fit_normalization

MEAN, STD = torch.tensor([2.0, -1.0, 0.0, 5.0]), torch.tensor([1.0, 4.0, 0.5, 0.0])


def test_features_are_centred_and_scaled():
    features = torch.tensor([[2.0, 3.0, 1.0, 5.0], [3.0, -1.0, 0.0, 6.0]], dtype=torch.float16)
    assert fit_normalization(MEAN, STD, "center")(features, torch.float32).tolist() == [[0, 4, 1, 0], [1, 0, 0, 1]]
    standardized = fit_normalization(MEAN, STD, "standardize")(features, torch.float32)
    assert standardized.tolist() == [[0, 1, 2, 0], [1, 0, 0, 20]], "divided by a tenth of the median deviation at least"
    assert fit_normalization(MEAN, torch.zeros(4), "standardize").scale.tolist() == [1, 1, 1, 1], "only centred"


def test_the_model_sees_normalized_features_in_full_precision():
    torch.manual_seed(0)
    model = build_model({"name": "ro-abmil", "hidden_dim": 16, "attention_dim": 8, "num_heads": 2}, 4, 2).eval()
    grid = torch.tensor([[0, 0], [1, 0], [5, 2]])
    large = (1000 + torch.arange(12.0).view(3, 4) / 8).half()  # in bfloat16 all are 1000
    mean, std = large.float().mean(dim=0), large.float().std(dim=0)
    expected = model((large.float() - mean) / std, grid, [3]).logits
    model.normalization = fit_normalization(mean, std, "standardize")
    torch.testing.assert_close(model(large, grid, [3]).logits, expected)
    assert sum(p.numel() for p in model.normalization.parameters()) == 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model(large, grid, [3]).logits, expected, rtol=0.05, atol=0.05)


class LargestTensor(TorchDispatchMode):
    """The largest tensor of float32 values that is made in its context."""

    values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.dtype == torch.float32:
            self.values = max(self.values, out.untyped_storage().nbytes() // 4)
        return out


@pytest.mark.parametrize("mode", ["none", "standardize"])
def test_in_half_precision_features_are_not_copied_to_float32(mode):
    torch.manual_seed(0)
    tiles, width = 3 * CHUNK_TILES, 64
    model = build_model({"name": "mean", "hidden_dim": 8, "num_layers": 0}, width, 2).train()
    features, grid = (1000 + torch.randn(tiles, width)).half(), torch.zeros(tiles, 2, dtype=torch.int32)
    expected = features.float()
    if mode != "none":
        model.normalization = fit_normalization(expected.mean(dim=0), expected.std(dim=0), mode)
        expected = (expected - model.normalization.mean) * model.normalization.scale
    seen = []
    model.project.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with LargestTensor() as largest, torch.autocast("cpu", dtype=torch.bfloat16):
        model(features, grid, [tiles])
    assert torch.equal(seen[0], expected.bfloat16()), "rounded once, after the normalization"
    assert largest.values <= CHUNK_TILES * width


def test_gradients_reach_the_features():
    features = torch.randn(5, 4, requires_grad=True)
    normalization = fit_normalization(MEAN, STD, "standardize")
    (gradient,) = torch.autograd.grad(normalization(features, torch.float32).sum(), features)
    assert torch.equal(gradient, normalization.scale.expand(5, 4))
