import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from roformermil.models import attention
from roformermil.models.attention import attend, attend_alibi
from roformermil.models.rope import alibi_slopes

LENGTHS = [5, 1, 9]
GRID = torch.randint(-5, 30, (15, 2), generator=torch.Generator().manual_seed(1))
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def inputs(tiles=15, heads=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(tiles, heads, 8, dtype=dtype, generator=generator, requires_grad=True) for _ in range(3)]


def attend_with(alibi, q, k, v, lengths, grid=GRID):
    return attend_alibi(q, k, v, grid, alibi_slopes(2), lengths) if alibi else attend(q, k, v, lengths)


def by_hand(q, k, v, lengths, slopes=None, grid=None):
    """The formula, with all N x N scores."""
    outs = []
    for bag in torch.arange(len(q), device=q.device).split(lengths):
        scores = torch.einsum("nhd,mhd->hnm", q[bag], k[bag]) / q.shape[-1] ** 0.5
        if slopes is not None:
            scores = scores - slopes[:, None, None].double() * (grid[bag, None] - grid[bag]).double().norm(dim=-1)
        outs.append(torch.einsum("hnm,mhd->nhd", scores.softmax(-1), v[bag]))
    return torch.cat(outs)


def assert_same(out, expected, inputs, atol, gradient_atol):
    """The same values, and the same gradients with respect to the inputs."""
    assert torch.allclose(out, expected, rtol=min(atol, 1e-5), atol=atol)
    gradients, wanted = (torch.autograd.grad(x.square().sum(), inputs) for x in (out, expected))
    rtol = min(gradient_atol, 1e-5)
    assert all(torch.allclose(a, b, rtol=rtol, atol=gradient_atol) for a, b in zip(gradients, wanted, strict=True))


@pytest.mark.parametrize("lengths", [LENGTHS, [5, 5, 5], [15]])
def test_attention_is_exact_and_stays_within_bags(lengths):
    qkv = inputs()
    assert_same(attend(*qkv, lengths), by_hand(*qkv, lengths), qkv, 1e-12, 1e-12)


@pytest.mark.parametrize("budget", [1, 4 * 2 * 9 * 4, 2**20])  # one query at a time, four, all
def test_alibi_is_exact_with_chunks_of_any_size(monkeypatch, budget):
    monkeypatch.setattr(attention, "BIAS_BYTES", budget)
    qkv, slopes = inputs(), alibi_slopes(2)
    assert slopes.tolist() == [2**-4, 2**-8]
    expected = by_hand(*qkv, LENGTHS, slopes, GRID)
    assert_same(attend_alibi(*qkv, GRID, slopes, LENGTHS), expected, qkv, 1e-12, 1e-12)


def test_alibi_in_half_precision_is_as_exact_with_many_chunks(monkeypatch):
    """Gradients of keys and values are sums over all chunks: summed in half precision, their error would grow."""
    q, k, v = (x.detach().bfloat16().requires_grad_() for x in inputs(600, dtype=torch.float32))

    def gradients(budget):
        monkeypatch.setattr(attention, "BIAS_BYTES", budget)
        out = attend_with(True, q, k, v, [600], torch.arange(1200).view(600, 2) % 29)
        return torch.autograd.grad(out.float().sum(), (q, k, v))

    for one, many in zip(gradients(2**30), gradients(4 * 2 * 600 * 3), strict=True):
        assert (one.float() - many.float()).norm() < 0.006 * one.float().norm()


@pytest.mark.parametrize(("alibi", "lengths"), [(False, LENGTHS), (False, [15]), (True, [15])])
def test_the_fused_kernel_is_used(monkeypatch, alibi, lengths):
    """The plain kernel builds N x N scores; PyTorch falls back to it silently when a shape or an option does not suit."""
    monkeypatch.setattr(attention, "BIAS_BYTES", 4 * 2 * 15 * 6)
    with torch.profiler.profile() as profile:
        attend_with(alibi, *inputs(dtype=torch.float32), lengths).sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert any("dot_product" in n and "flash" in n for n in names) and not any("attention_math" in n for n in names)


@pytest.mark.parametrize("alibi", [False, True])
def test_memory_kept_for_the_backward_pass_is_linear_in_the_tiles(alibi):
    def kept_bytes(tiles):
        sizes = {}
        with saved_tensors_hooks(lambda x: sizes.update({x.data_ptr(): x.nbytes}) or x, lambda x: x):
            attend_with(alibi, *inputs(tiles, dtype=torch.float32), [tiles], torch.arange(2 * tiles).view(tiles, 2))
        return sum(sizes.values())

    assert kept_bytes(2000) <= 2.1 * kept_bytes(1000)


def test_the_packed_kernel_accepts_the_models_tensors():
    """Shapes and types through the real operator, without a GPU; the next test compares numbers."""
    with torch.no_grad(), FakeTensorMode():
        q, k, v = (torch.empty(15, 2, 64, device="cuda", dtype=torch.bfloat16) for _ in range(3))
        out = attention._attend_packed(q, k, v, LENGTHS)
    assert (out.shape, out.dtype) == (q.shape, q.dtype)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_on_a_gpu_packed_and_bag_by_bag_agree_with_the_formula(dtype):
    lengths = [300, 1, 77]
    q, k, v = (torch.randn(378, 8, 64, device="cuda", dtype=dtype, requires_grad=True) for _ in range(3))
    assert attention._has_packed_kernel(q) == (dtype != torch.float32 and torch.cuda.get_device_capability() >= (8, 0))
    out, expected = attend(q, k, v, lengths).double(), by_hand(*(x.double() for x in (q, k, v)), lengths)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    assert_same(out, expected, (q, k, v), tolerance, 10 * tolerance)
