import ast
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from roformermil.errors import BagError, ConfigError, WeightsError
from roformermil.models import build_model, load_reference_parameters
from roformermil.models.build import ModelOutput, mil_loss, parameter_count
from roformermil.models.roformer import CHUNK_TILES, Dropout, FeedForward
from roformermil.models.rope import AxisRotaryEncoding
from tests.models import MODELS, POSITIONS

SMALL = {"hidden_dim": 32, "attention_dim": 16, "num_heads": 4}
LENGTHS = [7, 1, 12]


def small(name, classes=3, **settings):
    torch.manual_seed(0)
    return build_model({"name": name, **SMALL, **settings}, in_dim=10, n_classes=classes).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(20, 10, generator=generator), torch.randint(-5, 40, (20, 2), generator=generator)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "transmil"])
@pytest.mark.parametrize("classes", [2, 3])
def test_contributions_and_biases_sum_to_the_logits(name, classes, batch):
    model, features, grid = small(name, classes).double(), batch[0].double(), batch[1]
    out, contributions = model.forward_with_contributions(features, grid, LENGTHS)
    assert torch.equal(out.logits, model(features, grid, LENGTHS).logits) and contributions.shape == (20, classes)
    sums = torch.stack([bag.sum(dim=0) for bag in contributions.split(LENGTHS)])
    biases = out.logits - sums  # the same for every bag
    assert torch.allclose(biases, biases[:1].expand_as(biases), atol=1e-9)
    assert sums.std(dim=0).max() > 1e-3, "the sums differ between bags"


def test_transmil_has_no_contributions(batch):
    assert small("transmil").forward_with_contributions(*batch, LENGTHS)[1] is None


def test_without_gradients_the_feed_forward_layer_gives_the_same_and_imports_no_compiler():
    """The import would cost each heat map job and each `predict` 1 to 2 s."""
    torch.manual_seed(0)
    layer, x = FeedForward(8, 16), torch.randn(2 * CHUNK_TILES + 5, 8)
    with torch.no_grad():
        without = layer(x)
    assert torch.equal(without, layer(x))
    code = """
import sys, torch, roformermil.report.heatmaps.out_of_fold, roformermil.models
torch.set_grad_enabled(False)
model = roformermil.models.build_model({"name": "ro-abmil"}, 8, 2)
model.forward_with_contributions(torch.randn(3, 8), torch.zeros(3, 2, dtype=torch.long), [3])
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", MODELS)
def test_recomputed_activations_give_the_same_gradients(name, batch):
    model, results = small(name, dropout=0.5).train(), []
    for model.checkpointing in (False, True):
        torch.manual_seed(3)  # the same dropout
        loss = mil_loss(model(*batch, LENGTHS), torch.tensor([0, 2, 1]), LENGTHS)
        results.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_checkpointing_computes_blocks_and_head_twice_in_training_and_once_in_evaluation(name, batch):
    model, calls = small(name, num_layers=2), Counter()
    for part in (model.project, *model.blocks, model.head):
        part.register_forward_pre_hook(lambda part, _: calls.update([part]))
    for model.checkpointing, training, times in ((False, True, 1), (True, True, 2), (True, False, 1)):
        calls.clear()
        model.train(training)(*batch, LENGTHS).logits.sum().backward()
        assert [calls[part] for part in (model.project, *model.blocks, model.head)] == [1] + [times] * (len(calls) - 1)


@pytest.mark.parametrize(("name", "settings"), [*((name, {}) for name in MODELS), *POSITIONS])
def test_the_host_never_reads_what_a_model_computes(name, settings):
    """Reading would make a GPU wait. On tensors with shapes but without values it is an error."""
    with torch.no_grad(), FakeTensorMode():
        model = small(name, **settings)
        out = model(torch.empty(20, 10, dtype=torch.float16), torch.empty(20, 2, dtype=torch.int32), LENGTHS)
        assert out.logits.shape == (3, 3)
        with pytest.raises(DataDependentOutputException):
            out.logits[0, 0].item()


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    torch.manual_seed(0)
    dropout, x = Dropout(0.25), torch.ones(100_000)
    assert sorted(dropout(x).unique().tolist()) == pytest.approx([0, 4 / 3])
    assert dropout(x).mean().item() == pytest.approx(1, abs=0.01) and dropout.eval()(x) is x


def test_settings_reach_the_rotary_encoding():
    made = small("ro-abmil", rope_frequencies="lang", rope_scale=0.5).blocks[0].attention.rope
    expected, grid = AxisRotaryEncoding(8, "lang", 0.5), torch.tensor([[3, -7]])
    assert all(torch.equal(a, b) for a, b in zip(made.angles(grid), expected.angles(grid), strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_is_close(name, batch):
    model = small(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(*batch, LENGTHS)
    whole = model(*batch, LENGTHS)
    assert torch.allclose(half.logits.float(), whole.logits, atol=0.05)
    assert all(torch.allclose(a.float().sum(0), torch.ones(3), atol=0.02) for a in half.attention.split(LENGTHS))


@pytest.mark.parametrize(("name", "pool"), [("mean", torch.mean), ("max", torch.amax)])
def test_simple_pooling_by_hand(name, pool, batch):
    model = small(name, num_layers=0)
    scores = model.head.classifier(model.project(batch[0]))  # linear, so the mean of scores is the mean's score
    out = model(*batch, LENGTHS)
    assert torch.allclose(out.logits, torch.stack([pool(s, dim=0) for s in scores.split(LENGTHS)]), atol=1e-6)
    assert name == "mean" or set(out.attention.unique().tolist()) == {0.0, 1.0}, "the highest tile has all"


def test_gated_attention_by_hand(batch):
    """Ilse et al. 2018, equation 9: a_k ~ exp(w^T (tanh(V h_k) * sigm(U h_k)))."""
    model = small("gated-abmil", num_layers=0)
    h, state = model.project(batch[0]), dict(model.head.named_parameters())
    v = torch.tanh(h @ state["branch.weight"].T + state["branch.bias"])
    u = 1 / (1 + torch.exp(-(h @ state["gate.weight"].T + state["gate.bias"])))
    a = torch.exp((v * u) @ state["weigh.weight"].T + state["weigh.bias"])[:7]
    z = (a / a.sum() * h[:7]).sum(0)
    out = model(*batch, LENGTHS)
    assert torch.allclose(out.logits[0], z @ state["classifier.weight"].T + state["classifier.bias"], atol=1e-5)
    assert torch.allclose(out.attention[:7], (a / a.sum()).expand(-1, 3), atol=1e-6)


def test_dsmil_attention_by_hand(batch):
    """Li et al. 2021: a tile's weight is the softmax of its query's product with the query of the highest tile."""
    model = small("dsmil", num_layers=0)
    out, q = model(*batch, LENGTHS), model.head.query(model.project(batch[0]))[:7]
    for c in range(3):
        weights = torch.exp(q @ q[out.instance_logits[:7, c].argmax()] / 128**0.5)
        assert torch.allclose(out.attention[:7, c], weights / weights.sum(), atol=1e-6)


@pytest.mark.parametrize("position", ["rope", "alibi"])
@pytest.mark.parametrize("head", ["abmil", "dsmil"])
def test_relative_encodings_use_arrangement_but_unlike_sine_not_absolute_position(head, position, batch):
    model, (features, grid) = small(f"ro-{head}", position=position), batch
    here = model(features, grid, LENGTHS).logits
    assert torch.allclose(here, model(features, grid + 40, LENGTHS).logits, atol=1e-4)
    assert not torch.allclose(here, model(features, grid.flip(0), LENGTHS).logits, atol=3e-4)
    sine, plain = small(f"ro-{head}", position="sine"), small(head)
    assert not torch.allclose(*(sine(features, g, LENGTHS).logits for g in (grid, grid + 40)), atol=1e-3)
    assert torch.equal(plain(features, grid, LENGTHS).logits, plain(features, grid.flip(0), LENGTHS).logits)


@pytest.mark.parametrize(("name", "count"), [("ro-abmil", 4_335_618), ("ro-dsmil", 3_762_436), ("transmil", 2_672_146)])
def test_parameter_counts_are_the_published_ones_and_those_of_plain_models_nearly(name, count):
    """Those of the release, and TransMIL's 2.67 M (its paper, table of model sizes), for 1024 values per tile."""
    assert parameter_count(build_model({"name": name}, 1024, 2)) == count
    plain = build_model({"name": name.removeprefix("ro-")}, 1024, 2)
    assert parameter_count(plain) == pytest.approx(count, rel=1e-3)


@pytest.mark.parametrize("bags", [1, 2, 3, 4, 7, 16])
def test_the_loss_of_classes_is_torchs_cross_entropy_to_the_last_bit(bags):
    """So that trainings of earlier releases are repeated exactly."""
    torch.manual_seed(bags)
    for _ in range(20):
        logits, labels = torch.randn(bags, 3, requires_grad=True), torch.randint(3, (bags,))
        expected = torch.nn.functional.cross_entropy(logits, labels)
        actual = mil_loss(ModelOutput(logits, logits, None), labels, [1] * bags)
        gradients = [torch.autograd.grad(loss, logits)[0] for loss in (expected, actual)]
        assert torch.equal(actual, expected) and torch.equal(*gradients)


def test_wrong_shapes_are_named(batch):
    features, grid = batch
    wrong = [(features[:, :9], grid, LENGTHS), (features, grid, [7, 13, 1]), (features, grid, [20, 0])]
    for arguments in (*wrong, (features, torch.cat((grid, grid[:, :1]), dim=1), LENGTHS)):
        with pytest.raises(BagError, match="do not fit"):
            small("ro-abmil")(*arguments)
    for hidden_dim, classes, message in ((32, 0, "n_classes"), (30, 2, "multiples of num_heads")):
        with pytest.raises(ConfigError, match=message):
            build_model({"name": "abmil", "hidden_dim": hidden_dim}, 10, classes)


def test_dsmil_loss_is_the_mean_of_both_streams(batch):
    labels, out = torch.tensor([0, 2, 1]), small("dsmil")(*batch, LENGTHS)
    highest = torch.stack([s.max(0).values for s in out.instance_logits.split(LENGTHS)])
    expected = sum(-torch.log_softmax(x, -1)[range(3), labels].mean() for x in (out.logits, highest)) / 2
    assert torch.allclose(mil_loss(out, labels, LENGTHS), expected, atol=1e-6)


@pytest.mark.shared
@pytest.mark.parametrize("frequencies", ["as given", "isotropic", "learned"])  # others become the paper's
@pytest.mark.parametrize("name", ["abmil_no_rope", "abmil_sine", "ro_abmil_lang", "ro_abmil_pixel", "ro_dsmil_pixel"])
def test_the_released_implementation_is_reproduced(shared, name, frequencies):
    """A stored case has settings, released parameters, inputs and expected outputs."""
    case = np.load(shared / f"reference/{name}.npz")
    given = ast.literal_eval(str(case["settings"]))
    position = "sine" if given["sine"] else "none" if given["rope"] == "none" else "rope"
    settings = {"name": "ro-" + given["head"], **{key: given[key] for key in ("hidden_dim", "attention_dim")}}
    settings |= {"num_heads": given["heads"], "num_layers": given["layers"], "position": position}
    if frequencies != "as given" and given["rope"] != "pixel":
        pytest.skip("has no such frequencies")
    if position == "rope":
        settings["rope_frequencies"] = given["rope"] if frequencies == "as given" else frequencies
    model = build_model(settings, given["in_dim"], given["classes"]).eval()
    load_reference_parameters(model, {k.removeprefix("param/"): case[k] for k in case.files if k.startswith("param/")})
    with torch.no_grad():
        out = model(torch.from_numpy(case["features"]), torch.from_numpy(case["grid"]), case["lengths"].tolist())
    np.testing.assert_allclose(out.logits.numpy(), case["logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.attention.numpy().T, case["attention"], atol=1e-5)
    if "instance_logits" in case.files:
        np.testing.assert_allclose(out.instance_logits.numpy(), case["instance_logits"], rtol=1e-4, atol=2e-5)


def test_unknown_and_missing_parameters_are_refused():
    model = small("ro-abmil")
    for name, message in (("vit", "vit.weight: no such parameter"), ("dim_reduction_projection", "do not fit")):
        with pytest.raises(WeightsError, match=message):
            load_reference_parameters(model, {f"{name}.weight": np.zeros((32, 10))})
