import cmath
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from roformermil.models.rope import (
    AxisRotaryEncoding,
    DirectedRotaryEncoding,
    RotaryEncoding,
    axis_frequencies,
    from_lowest,
    sine_encoding,
)

GRID = torch.tensor([[0, 0], [3, -7], [119, 45], [-20, 400]])


@pytest.mark.parametrize("frequencies", ["pixel", "lang"])
def test_rotation_by_hand(frequencies):
    """head_dim 8: two pairs for x, then two for y."""
    rope = AxisRotaryEncoding(8, frequencies, scale=0.5)
    by_hand = [math.pi / 400, 200 * math.pi / 400] if frequencies == "pixel" else [1.0, 10000 ** (-1 / 2)]
    x = torch.arange(1.0, 9.0).view(1, 1, 8)
    rotated = RotaryEncoding.rotate(x, rope.angles(torch.tensor([[3, -7]]))).flatten().tolist()
    for pair, (position, frequency) in enumerate([(3, 0), (3, 1), (-7, 0), (-7, 1)]):
        angle = 0.5 * position * by_hand[frequency]
        turned = complex(2 * pair + 1, 2 * pair + 2) * cmath.exp(1j * angle)
        assert rotated[2 * pair : 2 * pair + 2] == pytest.approx([turned.real, turned.imag], abs=1e-5)


def test_mixed_frequencies_are_half_of_either_set():
    pixel, lang = axis_frequencies(8, "pixel"), axis_frequencies(8, "lang")
    assert axis_frequencies(8, "mixed").tolist() == torch.stack((lang[::2], pixel[1::2]), dim=1).flatten().tolist()


def test_directed_frequencies_are_in_all_directions_with_lengths_in_equal_ratios():
    rope = DirectedRotaryEncoding(64, num_heads=4, scale=0.5, learned=True)
    grid = torch.tensor([[3.0, -7.0], [1.0, 2.0]])
    a, b = rope.directions.detach()
    lengths = torch.hypot(a, b)
    torch.testing.assert_close(lengths, (64 ** -(torch.arange(32) / 31)).expand(4, 32))
    octants = ((torch.atan2(b, a) + math.pi) / (math.pi / 4)).long().clamp(max=7)
    assert all(set(head.tolist()) == set(range(8)) for head in octants)
    assert not torch.allclose(a[0], a[1], atol=0.1), "heads differ in direction"
    cos, sin = rope.angles(grid)
    assert cos.shape == sin.shape == (2, 4, 32)
    angle = 0.5 * (3 * a - 7 * b)
    torch.testing.assert_close(cos[0], angle.cos())
    torch.testing.assert_close(sin[0], angle.sin())
    (cos.sum() + sin.sum()).backward()
    assert (rope.directions.grad.abs() > 0).all(), "both axes of every pair are learned"


coordinates = st.tuples(st.integers(-500, 500), st.integers(-500, 500))


@pytest.mark.parametrize("frequencies", ["pixel", "lang"])
@given(a=coordinates, b=coordinates, shift=coordinates, scale=st.sampled_from([0.1, 1.0, 3.0]))
def test_the_product_of_any_two_tiles_depends_on_their_displacement_alone(frequencies, a, b, shift, scale):
    rope = AxisRotaryEncoding(16, frequencies, scale)
    q, k = torch.linspace(-1, 1, 16).view(1, 1, 16), torch.linspace(2, -1, 16).view(1, 1, 16)

    def product(at, other):
        rotated = (RotaryEncoding.rotate(x, rope.angles(torch.tensor([g]))) for x, g in ((q, at), (k, other)))
        return torch.mul(*rotated).sum().item()

    moved = (tuple(p + s for p, s in zip(point, shift, strict=True)) for point in (a, b))
    assert product(a, b) == pytest.approx(product(*moved), abs=0.02)


def test_angles_stay_float32_in_a_half_precision_model():
    rope = AxisRotaryEncoding(64)
    before, half = rope.angles(GRID), rope.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        after = half.angles(GRID)
        assert half.rotate(torch.ones(4, 2, 64, dtype=torch.bfloat16), after).dtype == torch.bfloat16
    assert all(torch.equal(a, b) and b.dtype == torch.float32 for a, b in zip(before, after, strict=True))


def test_directions_stay_float32_in_a_half_precision_model_and_are_kept_in_its_file():
    rope = DirectedRotaryEncoding(16, num_heads=2)
    before, half = rope.angles(GRID), rope.bfloat16()
    assert all(torch.equal(a, b) for a, b in zip(before, half.angles(GRID), strict=True))
    assert "directions" in rope.state_dict() and not list(rope.parameters())


def test_float64_is_rotated_in_float64_and_half_precision_in_float32():
    generator = torch.Generator().manual_seed(0)
    rope, x = AxisRotaryEncoding(8).double(), torch.randn(4, 1, 8, generator=generator, dtype=torch.float64)
    angles = (rope.scale * GRID.double()[:, :, None] * rope.frequencies).flatten(1).unsqueeze(1)
    turned = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * torch.polar(torch.ones_like(angles), angles)
    expected = torch.view_as_real(turned).flatten(-2)
    assert torch.allclose(RotaryEncoding.rotate(x, rope.angles(GRID)), expected, rtol=0, atol=1e-12)
    half, single = x.bfloat16(), AxisRotaryEncoding(8).angles(GRID)
    exact = RotaryEncoding.rotate(half.float(), single)
    assert torch.equal(RotaryEncoding.rotate(half, single), exact.bfloat16())


def test_positions_count_from_the_lowest_of_each_bag():
    grid = torch.tensor([[100_003, -7], [100_001, 4], [5, 900_000]], dtype=torch.int32)
    assert from_lowest(grid, [2, 1]).tolist() == [[2, 0], [0, 11], [0, 0]]


def test_sine_by_hand():
    x, angle = sine_encoding(GRID, 8), 3 * 10000 ** (-1 / 2)
    assert x.shape == (4, 8)
    by_hand = [math.sin(3), math.cos(3), math.sin(angle), math.cos(angle), math.sin(-7)]
    assert x[1, :5].tolist() == pytest.approx(by_hand, abs=1e-6)
