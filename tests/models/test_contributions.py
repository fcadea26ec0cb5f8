"""What tiles add to a logit: the parts make up the whole."""

import pytest
import torch

from roformermil.models import build_model

SIZES = {"hidden_dim": 32, "num_heads": 2}
MODELS = ["abmil", "ro-abmil", "dsmil", "ro-dsmil", "gated-abmil", "mean", "max"]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", [2, 3])
def test_contributions_and_the_biases_make_up_the_logits(name, classes):
    torch.manual_seed(0)
    model = build_model({"name": name, **SIZES}, in_dim=8, n_classes=classes).eval().double()
    features, grid = torch.randn(50, 8).double(), torch.randint(0, 20, (50, 2))
    lengths = [20, 1, 29]
    logits = model(features, grid, lengths).logits
    parts = model.contributions(features, grid, lengths)
    assert parts.shape == (50, classes)
    sums = torch.stack([part.sum(dim=0) for part in parts.split(lengths)])
    rest = logits - sums  # of the head's biases alone, so the same whatever the bag
    assert torch.allclose(rest, rest[:1].expand_as(rest), atol=1e-9)
    assert sums.std(dim=0).max() > 1e-3, "and bags differ by them"


def test_transmil_has_none():
    model = build_model({"name": "transmil", **SIZES}, in_dim=8, n_classes=2).eval()
    assert model.contributions(torch.randn(9, 8), torch.randint(0, 5, (9, 2)), [9]) is None
