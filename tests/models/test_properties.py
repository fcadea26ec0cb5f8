"""What is true for every model on any batch: hypothesis chooses the model, the bags and the positions of their tiles."""

from functools import cache
from typing import get_args

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from roformermil.config import ModelName
from roformermil.models import build_model

IN_DIM, CLASSES = 6, 3
VARIANTS = [{"name": name} for name in get_args(ModelName)]
VARIANTS += [{"name": "ro-abmil", "position": "alibi"}, {"name": "ro-abmil", "position": "sine"}]
VARIANTS += [
    {"name": "ro-dsmil", "position": "none"},
    {"name": "ro-abmil", "rope_frequencies": "lang", "num_layers": 2},
]


@cache
def build_variant(number):
    torch.manual_seed(number)
    settings = {"hidden_dim": 16, "attention_dim": 8, "num_heads": 2, **VARIANTS[number]}
    return build_model(settings, IN_DIM, CLASSES).eval()


@st.composite
def batches(draw):
    """A model, and bags of 1 to 12 tiles at distinct positions, which may be negative."""
    model = build_variant(draw(st.integers(0, len(VARIANTS) - 1)))
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    positions = st.tuples(st.integers(-30, 30), st.integers(-30, 30))
    bags = [draw(st.lists(positions, min_size=n, max_size=n, unique=True)) for n in lengths]
    grid = torch.tensor([position for bag in bags for position in bag])
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    return model, torch.randn(sum(lengths), IN_DIM, generator=generator), grid, lengths


def close(a, b):
    return torch.allclose(a, b, atol=2e-5)


@settings(deadline=None, max_examples=40)
@given(batches())
def test_packed_bags_give_the_output_of_single_bags(batch):
    model, features, grid, lengths = batch
    together = model(features, grid, lengths)
    singles = [model(f, g, [len(f)]) for f, g in zip(features.split(lengths), grid.split(lengths), strict=True)]
    assert close(together.logits, torch.cat([single.logits for single in singles]))
    assert close(together.attention, torch.cat([single.attention for single in singles]))
    sums = torch.stack([a.sum(0) for a in together.attention.split(lengths)])
    assert close(sums, torch.ones(len(lengths), CLASSES))


@settings(deadline=None, max_examples=40)
@given(batches(), st.randoms(use_true_random=False))
def test_permuting_a_bags_tiles_permutes_its_attention_and_keeps_its_logits(batch, random):
    model, features, grid, lengths = batch
    order, start = [], 0
    for n in lengths:
        order += random.sample(range(start, start + n), n)
        start += n
    before, after = model(features, grid, lengths), model(features[order], grid[order], lengths)
    assert close(before.logits, after.logits)
    assert close(before.attention[order], after.attention)


@settings(deadline=None, max_examples=40)
@given(batches())
def test_a_bags_logits_do_not_depend_on_other_bags(batch):
    model, features, grid, lengths = batch
    first = lengths[0]
    out = model(features.requires_grad_(), grid, lengths)
    (gradient,) = torch.autograd.grad(out.logits[0].square().sum(), features)
    assert gradient[first:].abs().sum() == 0
    moved = grid.clone()
    moved[first:] += 7
    assert close(model(features, moved, lengths).logits[0], out.logits[0])


@settings(deadline=None, max_examples=40)
@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_bags_does_not_matter(batch, random):
    model, features, grid, lengths = batch
    order = random.sample(range(len(lengths)), len(lengths))
    shuffled = [torch.cat([x.split(lengths)[k] for k in order]) for x in (features, grid)]
    before, after = model(features, grid, lengths), model(*shuffled, [lengths[k] for k in order])
    assert close(before.logits[order], after.logits)
