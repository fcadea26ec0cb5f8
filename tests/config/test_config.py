import json

import pytest
from jsonschema import validate

from roformermil.config import Ablation, Config, Encoder, Folds, Model, Overhead, Tissue, Training, load_config
from roformermil.config.base import read_settings, to_json
from roformermil.config.reference import config_reference, config_schema
from roformermil.errors import ConfigError
from tests import ROOT

DATASETS = {"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}}
MISTAKES = [
    ({"training": {"epoch": 3}}, r"training.epoch: unknown key; did you mean `epochs`\?"),
    ({"training": {"epochs": 0}}, r"training.epochs: .*greater than or equal to 1 \(got 0\)"),
    ({"training": {"learning_rate": "fast"}}, r"training.learning_rate: .*number.*'fast'"),
    ({"models": ["abmil", "abmil"]}, r"models: duplicate model abmil: give each variant an `id`"),
    ({"models": ["vit"]}, r"models.1.name: 'vit' is none of abmil, ro-abmil"),
    ({"models": [{"name": "mean", "hiden_dim": 3}]}, r"models.1.hiden_dim: unknown key; did you mean `hidden_dim`"),
    ({"datasets": {"d": {**DATASETS["d"], "class": 1}}}, r"datasets.d.class: unknown key; did you mean `classes`"),
    ({"datasets": {"d": {"root": "."}}}, r"datasets.d.slides: is missing"),
    ({"tissue": {"median": 4}}, r"tissue.median: .*odd"),
    ({"datasets": {}}, r"datasets: .*at least 1"),
    ({"datasets": {"d": {**DATASETS["d"], "classes": ["a", "a"]}}}, r"datasets.d.classes: list each value once"),
    ({"datasets": {"logs": DATASETS["d"]}}, "logs is the name of another folder"),
    ({"encoder": {"id": "tiles"}}, "tiles is another folder"),
    # and no second error for a default that is derived from the wrong key
    ({"encoder": {"name": "resnet51"}}, r"^config: encoder.name: .*'resnet51'; did you mean resnet50\?$"),
    ({"folds": {"mode": "x"}}, "^config: folds.mode: 'x' is none of rotation, paper$"),
    ({"folds": {"mode": "papper"}}, r"'papper' is none of rotation, paper; did you mean `paper`\?$"),
]
ENCODERS = [
    ({}, "imagenet", "resnet50-imagenet"),
    ({"name": "resnet50-full"}, "imagenet", "resnet50-full-imagenet"),
    ({"name": "uni2-h"}, "hub", "uni2-h-hub"),
    ({"name": "timm:vit_tiny", "weights": "hub"}, "hub", "vit_tiny-hub"),
    ({"name": "imported"}, None, "imported"),
    ({"name": "imported", "id": "virchow2"}, None, "virchow2"),
    ({"weights": "a/b/my_net.pth"}, "a/b/my_net.pth", "resnet50-my_net"),
    ({"weights": "random"}, "random", "resnet50-random"),
    ({"weights": "random", "id": "mine"}, "random", "mine-random"),
]
CONTRADICTIONS = [
    (Folds, {"mode": "paper", "group_by_patient": True}, "splits by slide"),
    (Folds, {"mode": "paper", "path": "x.csv"}, "paper makes folds, path gives them"),
    (Ablation, {"scales": [1, 1.0000001]}, "each value once"),
    (Overhead, {"models": ["mean", {"name": "mean", "num_layers": 2}]}, "duplicate model mean"),
    (Ablation, {"model": "abmil"}, "must be ro-abmil or ro-dsmil"),
    (Model, {"name": "transmil", "num_layers": 0}, "never meets the tiles"),
    (Model, {"name": "abmil", "position": "rope"}, "ro-abmil and ro-dsmil have"),
    (Model, {"name": "mean", "position": "sine"}, "ro-abmil and ro-dsmil have"),
    (Model, {"name": "abmil", "rope_scale": 2}, "have no effect without position: rope"),
    (Model, {"name": "ro-abmil", "position": "none", "rope_scale": 2}, "have no effect without position: rope"),
    (Encoder, {"seed": 1}, "seed has no effect without weights: random"),
]


def test_paper_values_are_the_defaults():
    config = read_settings(Config, {"datasets": DATASETS})
    assert [m.name for m in config.models] == ["abmil", "ro-abmil", "dsmil", "ro-dsmil"]
    assert (config.training.learning_rate, config.training.batch_size, config.training.epochs) == (1e-4, 4, 50)
    assert (config.tiles.tile_px, config.tiles.target_mpp, config.folds.count) == (256, 0.5, 10)
    assert (config.tissue.threshold, config.tissue.median, config.tissue.close) == (8, 7, 4)
    assert [m.position for m in config.models] == ["none", "rope", "none", "rope"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "config").glob("*.yaml")))
def test_bundled_configs_are_valid(name):
    load_config(ROOT / f"config/{name}.yaml")


def test_the_schema_file_and_the_reference_page_are_in_step():
    assert (ROOT / "workflow/schemas/config.schema.json").read_text() == config_schema(), "run: make schema"
    assert (ROOT / "docs/reference.md").read_text() == config_reference(), "run: make schema"


def test_every_setting_is_documented_in_the_schema():
    for name, section in json.loads(config_schema())["$defs"].items():
        undocumented = [key for key, value in section["properties"].items() if "description" not in value]
        assert not undocumented, f"{name}: {undocumented}"


@pytest.mark.parametrize(("change", "expected"), MISTAKES)
def test_errors_name_the_key_and_what_was_expected(change, expected):
    with pytest.raises(ConfigError, match=expected):
        read_settings(Config, {"datasets": DATASETS} | change)


def test_settings_survive_the_command_line():
    settings = Training(learning_rate=3e-5, monitor="auroc")
    assert read_settings(Training, to_json(settings)) == settings
    assert read_settings(Tissue, "{method: otsu}").method == "otsu"
    with pytest.raises(ConfigError, match="has no keys; write it as"):
        read_settings(Training, "epochs=3", "--training")


def test_the_schema_accepts_a_models_name_or_its_settings():
    models = ["abmil", {"name": "ro-abmil", "num_heads": 4}]
    validate({"datasets": DATASETS, "models": models, "tissue": {"method": "otsu"}}, json.loads(config_schema()))


@pytest.mark.parametrize(("given", "weights", "id"), ENCODERS)
def test_an_encoders_weights_and_id_are_derived_and_random_weights_are_named_as_such(given, weights, id):
    encoder = Encoder(**given)
    assert (encoder.weights, encoder.id) == (weights, id)


def test_tiles_are_by_default_those_that_the_encoder_was_trained_on():
    config = read_settings(Config, {"datasets": DATASETS, "encoder": {"name": "uni"}, "tiles": {"min_tissue": 0.5}})
    assert (config.tiles.tile_px, config.tiles.target_mpp, config.tiles.min_tissue) == (224, 0.5, 0.5)
    given = read_settings(Config, {"datasets": DATASETS, "encoder": {"name": "uni"}, "tiles": {"tile_px": 256}})
    assert given.tiles.tile_px == 256


def test_paper_folds_split_by_slide_and_others_by_patient():
    assert Folds().group_by_patient and not Folds(mode="paper").group_by_patient
    assert not Folds(group_by_patient=False).group_by_patient


def test_settings_do_not_change_after_they_were_read():
    with pytest.raises(ValueError, match="frozen"):
        Encoder().id = "other"
    assert "__setattr__" not in "".join(path.read_text() for path in (ROOT / "roformermil").rglob("*.py"))


def test_only_settings_that_decide_a_result_are_part_of_its_fingerprint():
    assert Training(readers=1, cache_gb=0).deciding_values() == Training().deciding_values()
    assert Training(seed=2).deciding_values() != Training().deciding_values()


def test_the_papers_configuration_is_that_of_its_release():
    """Values from the release's conf/training.yaml, conf/model_dict.yaml, conf/create_splits.yaml."""
    config = load_config(ROOT / "config/paper.yaml")
    released = {"learning_rate": 1e-4, "weight_decay": 1e-5, "batch_size": 4, "patience": 10, "monitor": "accuracy"}
    released |= {"scheduler_factor": 0.1, "scheduler_patience": 5, "precision": "fp16", "epochs": 50, "max_tiles": None}
    assert {key: getattr(config.training, key) for key in released} == released
    assert (config.folds.mode, config.folds.count, config.folds.group_by_patient) == ("paper", 10, False)
    models = {model.id: model for model in config.models}
    assert list(models) == ["ro-abmil", "abmil", "ro-dsmil", "dsmil", "transmil"]
    for name in ("ro-abmil", "ro-dsmil"):
        model = models[name]
        assert (model.hidden_dim, model.num_heads, model.num_layers, model.dropout) == (512, 8, 1, 0.25)
        assert (model.position, model.rope_frequencies, model.rope_scale) == ("rope", "pixel", 1.0)
    assert (config.tiles.tile_px, config.tiles.target_mpp) == (256, 0.5)
    assert (config.tissue.threshold, config.tissue.median, config.tissue.close) == (8, 7, 4)


@pytest.mark.parametrize(("section", "given", "message"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_or_would_be_ignored_are_refused(section, given, message):
    with pytest.raises(ConfigError, match=message):
        read_settings(section, given)
