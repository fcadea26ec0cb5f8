"""In half precision and far from the grid's origin the results keep their digits."""

import pytest
import torch

from roformermil.models import build_model
from roformermil.models.build import mil_loss
from tests.models import MODELS, POSITIONS

SMALL = {"hidden_dim": 32, "attention_dim": 16, "num_heads": 4}
BAGS = 40


def small(name, **settings):
    torch.manual_seed(0)
    return build_model({"name": name, **SMALL, **settings}, in_dim=10, n_classes=3).eval()


def similar_bags():
    """Bags of 4 tiles each; they differ by 1%, and so do their logits, by less than bfloat16 or float16 can tell."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(4, 10, generator=generator).repeat(BAGS, 1)
    grid = torch.randint(0, 40, (4, 2), generator=generator).repeat(BAGS, 1)
    return features + 0.01 * torch.randn(features.shape, generator=generator), grid, [4] * BAGS


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", MODELS)
def test_under_autocast_logits_and_loss_are_float32_and_similar_bags_do_not_tie(name, dtype):
    model, (features, grid, lengths) = small(name), similar_bags()
    labels = torch.arange(BAGS) % 3
    with torch.autocast("cpu", dtype):
        out, contributions = model.forward_with_contributions(features, grid, lengths)
        loss = mil_loss(out, labels, lengths)
    given = {"contributions": contributions, "loss": loss, **out._asdict()}
    assert {name: x.dtype for name, x in given.items() if x is not None and x.dtype != torch.float32} == {}
    distinct, in_half = ([len(column.unique()) for column in x.T] for x in (out.logits, out.logits.to(dtype)))
    assert min(distinct) >= BAGS - 2 > min(in_half), "two bags may tie by chance"
    assert torch.allclose(torch.stack([a.sum(0) for a in out.attention.split(lengths)]), torch.ones(BAGS, 3), atol=1e-6)
    if contributions is not None:
        biases = out.logits - torch.stack([bag.sum(0) for bag in contributions.split(lengths)])  # equal for all bags
        assert torch.allclose(biases, biases[:1].expand_as(biases), atol=1e-6)
    exact = mil_loss(model(features, grid, lengths), labels, lengths)
    assert loss.item() == pytest.approx(exact.item(), rel=0.02) and loss != loss.to(dtype)


@pytest.mark.parametrize(("name", "settings"), [*((name, {}) for name in MODELS), *POSITIONS])
def test_a_float64_model_stays_float64(name, settings):
    features, grid, lengths = similar_bags()
    single, double = small(name, **settings), small(name, **settings).double()
    out, expected = double(features.double(), grid, lengths), single(features, grid, lengths)
    assert {x.dtype for x in out if x is not None} == {torch.float64}
    assert torch.allclose(out.logits.float(), expected.logits, atol=1e-5)


@pytest.mark.parametrize("position", ["rope", "alibi"])
def test_far_from_the_grids_origin_a_relative_encoding_gives_the_same(position):
    model, (features, grid, lengths) = small("ro-abmil", position=position), similar_bags()
    features = features + torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    here, there, beyond = (model(features, grid + shift, lengths) for shift in (0, 100_000, -7_000_000))
    for moved in (there, beyond):
        assert torch.allclose(here.logits, moved.logits, rtol=0, atol=1e-6)
        assert torch.allclose(here.attention, moved.attention, rtol=0, atol=1e-6)
    shifts = torch.tensor([[100_000 * k, -30_000 * k] for k in range(BAGS)]).repeat_interleave(4, dim=0)
    assert torch.allclose(here.logits, model(features, grid + shifts, lengths).logits, rtol=0, atol=1e-6), "bag by bag"
