import json
from collections import Counter

import pytest

from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.errors import ConfigError
from roformermil.studies.variants import base_model, list_variants, variants_json

VARIED = {  # settings in which a variant may differ from the varied model, by axis
    "position": {"position", "rope_frequencies"},
    "scale": {"rope_scale"},
    "layers": {"num_layers"},
    "capacity": {"name", "position", "num_layers"},
}
REFUSED = [
    ([{"name": "ro-abmil", "hidden_dim": 128}], {"model": "ro-abmil"}, "two different models have the id ro-abmil"),
    (["ro-abmil", {"name": "ro-abmil", "id": "ro-abmil.scale-3", "num_layers": 4}], {}, "the id ro-abmil.scale-3"),
    (["abmil"], {}, "nothing to compare"),
    (["ro-abmil"], {"positions": [], "scales": [], "layers": [], "capacity": False}, "nothing to compare"),
]


def config(**values):
    return read_settings(Config, {"datasets": {"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}}, **values})


def test_each_variant_differs_from_the_varied_model_on_its_axis_only():
    (first, *variants), base = list_variants(config()), base_model(config())
    assert (first.axis, first.model, base.id) == ("", base, "ro-abmil")
    assert Counter(variant.axis for variant in variants) == {"position": 5, "scale": 5, "layers": 5, "capacity": 3}
    for variant in variants:
        changed = {key for key, value in variant.model if value != getattr(base, key)}
        assert changed - {"id"} <= VARIED[variant.axis]


def test_models_with_equal_settings_are_trained_once():
    variants = {(v.axis, v.name): v.model for v in list_variants(config(models=["abmil", "ro-abmil"]))}
    shared = [("position", "rope pixel"), ("scale", "1"), ("layers", "1"), ("capacity", "with RoFormer")]
    assert {variants[key].id for key in shared} == {"ro-abmil"}
    assert variants["capacity", "plain, as large"].id == "abmil"
    assert variants["scale", "0.1"].id == "ro-abmil.scale-0.1"
    settings = {model.model_copy(update={"id": None}) for model in variants.values()}
    assert len({model.id for model in variants.values()}) == len(settings) == len(set(variants.values()))


def test_the_varied_model_is_trained_whatever_the_axes_are_and_only_a_rotary_one_is_varied():
    assert list_variants(config(models=["abmil", {"name": "ro-abmil", "position": "sine"}])) == []
    variants = list_variants(config(ablation={"positions": ["sine"], "scales": [3], "layers": [], "capacity": False}))
    assert [variant.model.id for variant in variants] == ["ro-abmil", "ro-abmil.position-sine", "ro-abmil.scale-3"]
    names = [["position", "sine", "ro-abmil.position-sine"], ["scale", "3", "ro-abmil.scale-3"]]
    assert json.loads(variants_json(variants)) == names


@pytest.mark.parametrize(("models", "ablation", "message"), REFUSED)
def test_different_models_with_one_id_and_nothing_to_compare_are_refused(models, ablation, message):
    with pytest.raises(ConfigError, match=message):
        variants_json(list_variants(config(models=models, ablation=ablation)))
