"""What is true for every model on any batch: hypothesis chooses the bags and the positions of their tiles."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from roformermil.models import build_model
from tests.models import MODELS, POSITIONS

IN_DIM, CLASSES = 6, 3
VARIANTS = [(name, {"num_layers": n}) for name in MODELS for n in range(name == "transmil", 3)]
VARIANTS += [*POSITIONS, ("ro-abmil", {"rope_frequencies": "lang", "num_layers": 2})]
every_variant = pytest.mark.parametrize("variant", range(len(VARIANTS)))


@cache
def build_variant(number):
    name, changed = VARIANTS[number]
    torch.manual_seed(number)
    settings = {"name": name, "hidden_dim": 16, "attention_dim": 8, "num_heads": 2, **changed}
    model = build_model(settings, IN_DIM, CLASSES).eval()
    assert len(model.head.modules_ if name == "transmil" else model.blocks) == changed.get("num_layers", 1)
    return model


@st.composite
def batches(draw):
    """Bags of 1 to 12 tiles at distinct positions, which may be negative."""
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    positions = st.tuples(st.integers(-30, 30), st.integers(-30, 30))
    bags = [draw(st.lists(positions, min_size=n, max_size=n, unique=True)) for n in lengths]
    grid = torch.tensor([position for bag in bags for position in bag])
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return torch.randn(sum(lengths), IN_DIM, generator=generator), grid, lengths


def close(a, b):
    return torch.allclose(a, b, atol=2e-5)


@every_variant
@settings(deadline=None, max_examples=10)
@given(batch=batches())
def test_packed_bags_give_the_output_of_single_bags(variant, batch):
    model, (features, grid, lengths) = build_variant(variant), batch
    together = model(features.requires_grad_(), grid, lengths)
    assert together.logits.shape == (len(lengths), CLASSES) and together.attention.shape == (len(grid), CLASSES)
    singles = [model(f, g, [len(f)]) for f, g in zip(features.split(lengths), grid.split(lengths), strict=True)]
    assert close(together.logits, torch.cat([single.logits for single in singles]))
    assert close(together.attention, torch.cat([single.attention for single in singles]))
    assert all(close(a.sum(0), torch.ones(CLASSES)) for a in together.attention.split(lengths))
    (gradient,) = torch.autograd.grad(together.logits[0].square().sum(), features)
    assert gradient[lengths[0] :].abs().sum() == 0


@every_variant
@settings(deadline=None, max_examples=10)
@given(batch=batches(), random=st.randoms(use_true_random=False))
def test_permuting_a_bags_tiles_permutes_its_attention_and_keeps_its_logits(variant, batch, random):
    model, (features, grid, lengths) = build_variant(variant), batch
    order = [k for bag in torch.arange(len(grid)).split(lengths) for k in random.sample(bag.tolist(), len(bag))]
    before, after = model(features, grid, lengths), model(features[order], grid[order], lengths)
    assert close(before.logits, after.logits) and close(before.attention[order], after.attention)
