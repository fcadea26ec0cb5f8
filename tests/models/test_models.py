import ast

import numpy as np
import pytest
import torch

from roformermil.errors import BagError, ConfigError, WeightsError
from roformermil.models import build_model, load_reference_parameters
from roformermil.models.build import mil_loss, parameter_count

MODELS = ("abmil", "ro-abmil", "dsmil", "ro-dsmil")
SMALL = {"hidden_dim": 32, "attention_dim": 16, "heads": 4}
LENGTHS = [7, 1, 12]


def small(name, classes=3, **settings):
    torch.manual_seed(0)
    return build_model({"name": name, **SMALL, **settings}, in_dim=10, n_classes=classes).eval()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(sum(LENGTHS), 10, generator=generator)
    return features, torch.randint(-5, 40, (sum(LENGTHS), 2), generator=generator)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_packed_bags_give_what_single_bags_give(name, layers, batch):
    model = small(name, layers=layers)
    features, grid = batch
    together = model(features, grid, LENGTHS)
    assert together.logits.shape == (3, 3)
    assert together.attention.shape == (20, 3)
    singles = [model(f, g, [len(f)]) for f, g in zip(features.split(LENGTHS), grid.split(LENGTHS), strict=True)]
    assert torch.allclose(together.logits, torch.cat([s.logits for s in singles]), atol=1e-5)
    assert torch.allclose(together.attention, torch.cat([s.attention for s in singles]), atol=1e-5)
    sums = torch.stack([a.sum(0) for a in together.attention.split(LENGTHS)])
    assert torch.allclose(sums, torch.ones(3, 3), atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_order_of_tiles_is_immaterial(name, batch):
    model = small(name)
    features, grid = batch
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    one, other = model(features, grid, [20]), model(features[order], grid[order], [20])
    assert torch.allclose(one.logits, other.logits, atol=1e-5)
    assert torch.allclose(one.attention[order], other.attention, atol=1e-5)


@pytest.mark.parametrize("head", ["abmil", "dsmil"])
def test_rope_sees_arrangement_but_not_absolute_position(head, batch):
    model = small(f"ro-{head}")
    features, grid = batch
    here = model(features, grid, LENGTHS).logits
    assert torch.allclose(here, model(features, grid + 40, LENGTHS).logits, atol=1e-4)
    assert not torch.allclose(here, model(features, grid.flip(0), LENGTHS).logits, atol=1e-3)
    plain = small(head)
    assert torch.equal(plain(features, grid, LENGTHS).logits, plain(features, grid.flip(0), LENGTHS).logits)


def test_sine_sees_absolute_position(batch):
    features, grid = batch
    model = small("ro-abmil", position="sine")
    here, there = (model(features, g, LENGTHS).logits for g in (grid, grid + 40))
    assert not torch.allclose(here, there, atol=1e-3)


@pytest.mark.parametrize(("name", "count"), [("ro-abmil", 4_335_618), ("ro-dsmil", 3_762_436)])
def test_parameter_counts_are_the_releases_and_plain_models_match_them(name, count):
    assert parameter_count(build_model({"name": name}, 1024, 2)) == count
    assert parameter_count(build_model({"name": name[3:]}, 1024, 2)) == pytest.approx(count, rel=1e-3)


def test_wrong_shapes_are_named(batch):
    features, grid = batch
    model = small("ro-abmil")
    for arguments in ((features[:, :9], grid, LENGTHS), (features, grid, [7, 13, 1]), (features, grid, [20, 0])):
        with pytest.raises(BagError, match="do not fit"):
            model(*arguments)
    with pytest.raises(ConfigError, match="multiples of heads"):
        build_model({"name": "abmil", "hidden_dim": 30}, 10, 2)


def test_dsmil_loss_is_the_mean_of_both_streams(batch):
    features, grid = batch
    labels = torch.tensor([0, 2, 1])
    out = small("dsmil")(features, grid, LENGTHS)
    highest = torch.stack([s.max(0).values for s in out.instance_logits.split(LENGTHS)])
    expected = sum(-torch.log_softmax(x, -1)[range(3), labels].mean() for x in (out.logits, highest)) / 2
    assert torch.allclose(mil_loss(out, labels, LENGTHS), expected, atol=1e-6)


def reference(path):
    """A stored case: settings, released parameters, inputs, expected outputs."""
    case = np.load(path)
    given = ast.literal_eval(str(case["settings"]))
    position = "sine" if given["sine"] else "none" if given["rope"] == "none" else "rope"
    settings = {key: given[key] for key in ("hidden_dim", "attention_dim", "heads", "layers")}
    settings |= {"name": "ro-" + given["head"], "position": position}
    if position == "rope":
        settings["rope_frequencies"] = given["rope"]
    model = build_model(settings, given["in_dim"], given["classes"]).eval()
    load_reference_parameters(model, {k.removeprefix("param/"): case[k] for k in case.files if k.startswith("param/")})
    return model, case


@pytest.mark.shared
@pytest.mark.parametrize("name", ["abmil_no_rope", "abmil_sine", "ro_abmil_lang", "ro_abmil_pixel", "ro_dsmil_pixel"])
def test_the_released_implementation_is_reproduced(shared, name):
    model, case = reference(shared / f"reference/{name}.npz")
    with torch.no_grad():
        out = model(torch.from_numpy(case["features"]), torch.from_numpy(case["grid"]), case["lengths"].tolist())
    np.testing.assert_allclose(out.logits.numpy(), case["logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.attention.numpy().T, case["attention"], atol=1e-5)
    if "instance_logits" in case.files:
        np.testing.assert_allclose(out.instance_logits.numpy(), case["instance_logits"], rtol=1e-4, atol=2e-5)


def test_parameters_with_other_names_or_missing_are_refused():
    model = small("ro-abmil")
    with pytest.raises(WeightsError, match="vit.weight: no such parameter"):
        load_reference_parameters(model, {"vit.weight": np.zeros(3)})
    with pytest.raises(WeightsError, match="do not fit"):
        load_reference_parameters(model, {"dim_reduction_projection.weight": np.zeros((32, 10))})
