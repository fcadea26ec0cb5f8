"""Late fusion: the last linear layer of the pooled vector and the covariates, one after the other."""

import pytest
import torch

from roformermil.errors import BagError, ConfigError
from roformermil.models.build import build_model, parameter_count

SIZES = {"hidden_dim": 16, "attention_dim": 8, "num_heads": 2}
LENGTHS = [4, 3]


@pytest.fixture
def bags():
    torch.manual_seed(0)
    return torch.randn(7, 12), torch.randint(0, 9, (7, 2)), LENGTHS


@pytest.mark.parametrize("name", ["abmil", "ro-abmil"])
def test_fusion_is_concatenation_before_the_last_linear_layer(name, bags):
    torch.manual_seed(1)
    plain = build_model({"name": name, **SIZES}, 12, 3).eval()
    after = torch.rand(1)
    torch.manual_seed(1)
    fused = build_model({"name": name, "covariates": True, **SIZES}, 12, 3, covariates=5).eval()
    assert torch.equal(torch.rand(1), after)  # no random number more: the two are paired
    assert parameter_count(fused) == parameter_count(plain) + 3 * 5
    z = torch.randn(2, 5)
    assert torch.equal(fused(*bags, covariates=z).logits, plain(*bags).logits)  # at the start
    torch.nn.init.normal_(fused.fusion)
    pooled = []
    fused.head.out.register_forward_hook(lambda *call: pooled.append(call[2]))
    out, contributions = fused.forward_with_contributions(*bags, covariates=z)
    weight = torch.cat([fused.head.classifiers.weight, fused.fusion], dim=1)  # (C, D + k)
    joined = torch.cat([pooled[0], z[:, None].expand(-1, 3, -1)], dim=-1)  # (B, C, D + k)
    expected = (joined * weight).sum(-1) + fused.head.classifiers.bias
    assert torch.allclose(out.logits, expected, atol=1e-5)
    assert torch.allclose(contributions, plain.forward_with_contributions(*bags)[1])  # those of tiles alone
    assert torch.equal(out.attention, plain(*bags).attention)


def test_covariates_alone_are_a_linear_classifier_to_which_no_tile_contributes(bags):
    model = build_model("covariates", 12, 3, covariates=5)
    torch.nn.init.normal_(model.fusion)
    torch.nn.init.normal_(model.head.bias)
    z = torch.randn(2, 5)
    out, contributions = model.forward_with_contributions(*bags, covariates=z)
    assert torch.allclose(out.logits, torch.nn.functional.linear(z, model.fusion, model.head.bias))
    assert not contributions.any() and out.attention[:4].sum(dim=0).tolist() == pytest.approx([1, 1, 1])
    assert parameter_count(model) == 3 * 5 + 3


def test_models_and_inputs_that_do_not_fit_are_refused(bags):
    for name in ("dsmil", "ro-dsmil", "mean", "transmil", "mean-linear", "covariates"):
        with pytest.raises(ConfigError, match=f"{name} takes no covariates: late fusion is for abmil and ro-abmil"):
            build_model({"name": name, "covariates": True}, 12, 2, covariates=1)
    with pytest.raises(ConfigError, match="abmil uses covariates, but is given none: their number is needed"):
        build_model({"name": "abmil", "covariates": True}, 12, 2)
    model = build_model({"name": "abmil", "covariates": True, **SIZES}, 12, 2, covariates=5)
    for z, given in ((None, "none"), (torch.zeros(2, 4), r"\(2, 4\)")):
        with pytest.raises(BagError, match=rf"abmil needs covariates of shape \(2, 5\), but is given {given}"):
            model(*bags, covariates=z)
