import pytest

from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.errors import ConfigError
from roformermil.studies.variants import base_model, list_variants, variants_json

DATASETS = {"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}}


def config(**values):
    return read_settings(Config, {"datasets": DATASETS, **values})


def test_each_arm_differs_from_the_varied_model_in_its_axis_alone():
    first, *made = list_variants(config())
    base = base_model(config())
    assert (first.axis, first.model) == ("", base)
    assert base.id == "ro-abmil"
    assert {axis: sum(arm.axis == axis for arm in made) for axis in ("position", "scale", "layers", "capacity")} == {
        "position": 5, "scale": 5, "layers": 5, "capacity": 3
    }  # fmt: skip
    allowed = {
        "position": {"position", "rope_frequencies"}, "scale": {"rope_scale"}, "layers": {"layers"},
        "capacity": {"name", "position", "layers"},
    }  # fmt: skip
    for arm in made:
        values, reference = (m.model_dump(exclude={"id"}) for m in (arm.model, base))
        assert {key for key in values if values[key] != reference[key]} <= allowed[arm.axis]


def test_the_varied_model_and_configured_ones_are_not_trained_twice():
    made = list_variants(config(models=["abmil", "ro-abmil"]))
    ids = {(arm.axis, arm.name): arm.model.id for arm in made}
    shared = [("position", "rope pixel"), ("scale", "1"), ("layers", "1"), ("capacity", "with RoFormer")]
    assert {ids[key] for key in shared} == {"ro-abmil"}
    assert ids["capacity", "plain, as large"] == "abmil"
    assert ids["scale", "0.1"] == "ro-abmil.scale-0.1"
    assert len({arm.model.id for arm in made}) == len({arm.model.model_copy(update={"id": None}) for arm in made})


def test_without_a_rotary_model_there_is_nothing_to_vary():
    assert list_variants(config(models=["abmil", {"name": "ro-abmil", "position": "sine"}])) == []


def test_the_varied_model_is_trained_whatever_the_axes_are():
    made = list_variants(config(ablation={"positions": ["sine"], "scales": [3], "layers": [], "capacity": False}))
    assert [arm.model.id for arm in made] == ["ro-abmil", "ro-abmil.position-sine", "ro-abmil.scale-3"]


def test_equal_arms_are_trained_once():
    made = {(arm.axis, arm.name): arm.model for arm in list_variants(config(models=["ro-abmil"]))}
    assert made["position", "rope pixel"] is made["scale", "1"]
    assert len({model.id for model in made.values()}) == len(set(made.values()))


@pytest.mark.parametrize(
    "given",
    [
        {"models": [{"name": "ro-abmil", "hidden_dim": 128}], "ablation": {"model": "ro-abmil"}},
        {"models": ["ro-abmil", {"name": "ro-abmil", "id": "ro-abmil.scale-3", "num_layers": 4}]},
    ],
)
def test_two_models_of_one_name_are_refused(given):
    with pytest.raises(ConfigError, match="two models are named ro-abmil"):
        list_variants(config(**given))


@pytest.mark.parametrize(
    "given",
    [
        {"models": ["abmil"]},
        {"ablation": {"positions": [], "scales": [], "layers": [], "capacity": False}},
    ],
)
def test_nothing_to_compare_is_said(given):
    with pytest.raises(ConfigError, match="nothing to compare"):
        variants_json(list_variants(config(**given)))
