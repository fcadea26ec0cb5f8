import json
from collections import Counter

import pytest

from roformermil.config import Config, Training
from roformermil.config.base import read_settings
from roformermil.config.model import ROPE_DEFAULTS
from roformermil.errors import ConfigError
from roformermil.studies.variants import BASE, base_model, list_variants, variants_json

VARIED = {  # settings in which a variant may differ from the varied model, by axis
    "position": {"position", *ROPE_DEFAULTS},
    "scale": {"rope_scale"},
    "locality": {"rope_locality"},
    "layers": {"num_layers"},
    "capacity": {"name", "position", "num_layers", *ROPE_DEFAULTS},
    "augmentation": {"augment_grid"},
    "normalization": {"normalize"},
}
EMPTY = {"capacity": False} | {
    axis: [] for axis in ("positions", "scales", "localities", "layers", "augmentations", "normalizations")
}
REFUSED = [
    ([{"name": "ro-abmil", "hidden_dim": 128}], {"model": "ro-abmil"}, "two different models have the id ro-abmil"),
    (["ro-abmil", {"name": "ro-abmil", "id": "ro-abmil.scale-3", "num_layers": 4}], {}, "the id ro-abmil.scale-3"),
    (["abmil"], {}, "nothing to compare"),
    (["ro-abmil"], EMPTY, "nothing to compare"),
    (["ro-abmil", {"name": "ro-abmil", "id": "ro-abmil.augmentation-none"}], {}, "the id ro-abmil.augmentation-none"),
]


def config(**values):
    return read_settings(Config, {"datasets": {"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}}, **values})


def test_each_variant_differs_from_the_varied_model_on_its_axis_only():
    settings = config()
    (first, *variants), base = list_variants(settings), base_model(settings)
    assert (first.axis, first.model, first.training, base.id) == (BASE, base, settings.training, "ro-abmil")
    counts = {
        "position": 8,
        "scale": 5,
        "locality": 3,
        "layers": 5,
        "capacity": 3,
        "augmentation": 3,
        "normalization": 3,
    }
    assert Counter(variant.axis for variant in variants) == counts
    for variant in variants:
        changed = {key for key, value in variant.model if value != getattr(base, key)}
        changed |= {key for key, value in variant.training if value != getattr(settings.training, key)}
        assert changed - {"id"} <= VARIED[variant.axis]


def test_models_with_equal_settings_are_trained_once():
    settings = config(models=["abmil", "ro-abmil"], training={"augment_grid": "rotate"})
    variants = {(v.axis, v.name): v for v in list_variants(settings)}
    shared = [("position", f"rope {ROPE_DEFAULTS['rope_frequencies']}"), ("scale", "1"), ("locality", "3")]
    shared += [
        ("layers", "1"),
        ("capacity", "with RoFormer"),
        ("augmentation", "rotate"),
        ("normalization", "standardize"),
    ]
    assert {variants[key].model.id for key in shared} == {"ro-abmil"}
    assert variants["capacity", "plain, as large"].model.id == "abmil"
    assert variants["scale", "0.1"].model.id == "ro-abmil.scale-0.1"
    trained = {(v.model.model_copy(update={"id": None}), v.training) for v in variants.values()}
    assert len({v.model.id for v in variants.values()}) == len(trained) == len({v.model for v in variants.values()})


def test_augmentations_are_trained_with_their_own_settings():
    training = {"augment_grid": "none", "epochs": 7}
    variants = list_variants(config(training=training, ablation=EMPTY | {"augmentations": ["flip", "none"]}))
    assert [(v.name, v.model.id, v.training) for v in variants] == [
        ("ro-abmil", "ro-abmil", Training(**training)),
        ("flip", "ro-abmil.augmentation-flip", Training(augment_grid="flip", epochs=7)),
        ("none", "ro-abmil", Training(**training)),
    ]


@pytest.mark.parametrize(
    ("axis", "values"), {"positions": ["none"], "scales": [2], "localities": [0], "layers": [0]}.items()
)
def test_one_axis_alone_is_compared_with_the_varied_model(axis, values):
    variants = list_variants(config(ablation=EMPTY | {axis: values}))
    assert [variant.axis for variant in variants] == [
        BASE,
        {"positions": "position", "scales": "scale", "localities": "locality"}.get(axis, axis),
    ]


def test_a_variant_of_any_rotary_model_without_rotary_positions_is_valid():
    """Settings of the rotary encoding would be refused where they have no effect."""
    model = {"name": "ro-dsmil", "id": "varied", "rope_frequencies": "lang", "rope_scale": 2}
    variants = list_variants(config(ablation={"model": model}))
    assert {v.model.position for v in variants} == {"rope", "alibi", "sine", "none"}


def test_the_varied_model_is_trained_whatever_the_axes_are_and_only_a_rotary_one_is_varied():
    assert list_variants(config(models=["abmil", {"name": "ro-abmil", "position": "sine"}])) == []
    variants = list_variants(config(ablation=EMPTY | {"positions": ["sine"], "scales": [3]}))
    assert [variant.model.id for variant in variants] == ["ro-abmil", "ro-abmil.position-sine", "ro-abmil.scale-3"]
    names = [["position", "sine", "ro-abmil.position-sine"], ["scale", "3", "ro-abmil.scale-3"]]
    assert json.loads(variants_json(variants)) == [["base", "ro-abmil", "ro-abmil"], *names]


@pytest.mark.parametrize(("models", "ablation", "message"), REFUSED)
def test_different_models_with_one_id_and_nothing_to_compare_are_refused(models, ablation, message):
    with pytest.raises(ConfigError, match=message):
        variants_json(list_variants(config(models=models, ablation=ablation)))
