"""What each tile adds to a logit."""

import pytest
import torch

from roformermil.models import build_model

SIZES = {"hidden_dim": 32, "num_heads": 2}
MODELS = ["abmil", "ro-abmil", "dsmil", "ro-dsmil", "gated-abmil", "mean", "max"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 3])
def test_contributions_and_biases_sum_to_the_logits(name, classes):
    torch.manual_seed(0)
    model = build_model({"name": name, **SIZES}, in_dim=8, n_classes=classes).eval().double()
    features, grid = torch.randn(50, 8).double(), torch.randint(0, 20, (50, 2))
    lengths = [20, 1, 29]
    out, contributions = model.forward_with_contributions(features, grid, lengths)
    assert torch.equal(out.logits, model(features, grid, lengths).logits)
    assert contributions.shape == (50, classes)
    sums = torch.stack([bag.sum(dim=0) for bag in contributions.split(lengths)])
    biases = out.logits - sums  # the same for every bag
    assert torch.allclose(biases, biases[:1].expand_as(biases), atol=1e-9)
    assert sums.std(dim=0).max() > 1e-3, "the sums differ between bags"


def test_transmil_has_no_contributions():
    model = build_model({"name": "transmil", **SIZES}, in_dim=8, n_classes=2).eval()
    assert model.forward_with_contributions(torch.randn(9, 8), torch.randint(0, 5, (9, 2)), [9])[1] is None
