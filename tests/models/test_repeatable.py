"""Training repeats exactly on a GPU too: what its kernels do there is not tested here, but which of them are called is."""

import pytest
import torch
from torch.nn.attention import varlen
from torch.utils._python_dispatch import TorchDispatchMode

from roformermil.models import attention, build_model
from roformermil.models.build import mil_loss
from roformermil.runtime.gpus import autocast
from tests.models import MODELS, POSITIONS
from tests.models.test_attention import assert_same, by_hand

SMALL = {"hidden_dim": 32, "attention_dim": 16, "num_heads": 4}
LENGTHS = [7, 1, 12]
# those without a deterministic form on a GPU, as the documentation of torch.use_deterministic_algorithms lists them
NOT_REPEATABLE = {"_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward"}
NOT_REPEATABLE |= {"avg_pool3d_backward", "max_unpool2d", "max_unpool3d", "nll_loss2d_forward", "put_", "put", "histc"}
NOT_REPEATABLE |= {"fractional_max_pool2d_backward", "fractional_max_pool3d_backward", "_ctc_loss_backward", "bincount"}
NOT_REPEATABLE |= {f"upsample_{kind}_backward" for kind in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")}
NOT_REPEATABLE |= {f"reflection_pad{k}d_backward" for k in (1, 2, 3)} | {
    "_embedding_bag",
    "median",
    "cumsum",
    "cumsum_",
}
NOT_REPEATABLE |= {"grid_sampler_2d_backward", "grid_sampler_3d_backward", "scatter_reduce", "scatter_reduce_"}


class Recorder(TorchDispatchMode):
    """The operators that are called in its context, by name."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def attend_packed(q, k, v, cu_seq_q, *_):
    lengths = cu_seq_q.diff().tolist()
    return by_hand(q, k, v, lengths), q.new_zeros(q.shape[1], len(q), dtype=torch.float32), torch.zeros(2)


def attend_packed_backward(gradient, q, k, v, out, lse, cu_seq_q, *_):
    parts, scale = [], q.shape[-1] ** -0.5
    for bag in torch.arange(len(q)).split(cu_seq_q.diff().tolist()):
        weights = (scale * torch.einsum("nhd,mhd->hnm", q[bag], k[bag])).softmax(-1)
        by_weight = torch.einsum("nhd,mhd->hnm", gradient[bag], v[bag])
        by_score = scale * weights * (by_weight - (by_weight * weights).sum(-1, keepdim=True))
        of_q, of_k = torch.einsum("hnm,mhd->nhd", by_score, k[bag]), torch.einsum("hnm,nhd->mhd", by_score, q[bag])
        parts.append((of_q, of_k, torch.einsum("hnm,nhd->mhd", weights, gradient[bag])))
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


@pytest.fixture
def packed_kernel(monkeypatch):
    """Attention by the operator that a GPU's packed kernel has, with the formula behind it."""
    varlen._varlen_attn.register_kernel("cpu")(attend_packed)
    varlen._varlen_attn_backward.register_kernel("cpu")(attend_packed_backward)
    monkeypatch.setattr(attention, "_has_packed_kernel", lambda q: True)


@pytest.mark.usefixtures("packed_kernel")
@pytest.mark.parametrize(("name", "settings"), [*((name, {}) for name in MODELS), *POSITIONS])
def test_no_operator_of_a_training_step_lacks_a_form_that_repeats(name, settings):
    torch.manual_seed(0)
    model = build_model({"name": name, **SMALL, **settings}, 10, 3).train()
    features, grid = torch.randn(20, 10).half(), torch.randint(0, 40, (20, 2))
    with Recorder() as recorder:
        with autocast(torch.device("cpu"), torch.bfloat16):
            loss = mil_loss(model(features, grid, LENGTHS), torch.tensor([0, 2, 1]), LENGTHS)
        loss.backward()
    assert "native_dropout_backward" in recorder.names and not recorder.names & NOT_REPEATABLE
    uses_kernel = name.startswith("ro-") and settings.get("position") != "alibi"
    assert ("_varlen_attn_backward" in recorder.names) == uses_kernel


@pytest.mark.usefixtures("packed_kernel")
def test_the_packed_call_is_the_formula_with_its_gradients():
    q, k, v = (torch.randn(20, 2, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    expected = by_hand(q, k, v, LENGTHS)
    assert_same(attention.attend(q, k, v, LENGTHS), expected, (q, k, v), 1e-12, 1e-12)
