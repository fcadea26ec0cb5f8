import torch

from roformermil.models import build_model
from roformermil.models.normalization import fit_normalization

MEAN, STD = torch.tensor([2.0, -1.0, 0.0, 5.0]), torch.tensor([1.0, 4.0, 0.5, 0.0])


def test_features_are_centred_and_scaled():
    features = torch.tensor([[2.0, 3.0, 1.0, 5.0], [3.0, -1.0, 0.0, 6.0]], dtype=torch.float16)
    assert fit_normalization(MEAN, STD, "center")(features).tolist() == [[0, 4, 1, 0], [1, 0, 0, 1]]
    standardized = fit_normalization(MEAN, STD, "standardize")(features)
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
