import json

import pytest

from roformermil.config import Ablation, Config, Encoder, Folds, Model, Overhead, Tissue, Training, load_config
from roformermil.config.base import read_settings, to_json
from roformermil.config.reference import config_reference, config_schema
from roformermil.errors import ConfigError
from tests.conftest import ROOT

DATASETS = {"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}}


def test_paper_values_are_the_defaults():
    config = read_settings(Config, {"datasets": DATASETS})
    assert [m.name for m in config.models] == ["abmil", "ro-abmil", "dsmil", "ro-dsmil"]
    assert (config.training.learning_rate, config.training.batch_size, config.training.epochs) == (1e-4, 4, 50)
    assert (config.tiles.tile_px, config.tiles.target_mpp, config.folds.count) == (256, 0.5, 10)
    assert (config.tissue.threshold, config.tissue.median, config.tissue.close) == (8, 7, 4)
    assert [m.position for m in config.models] == ["none", "rope", "none", "rope"]


@pytest.mark.parametrize("name", ["config", "atlas"])
def test_bundled_configs_are_valid(name):
    load_config(ROOT / f"config/{name}.yaml")


def test_schema_file_is_in_step():
    stored = (ROOT / "workflow/schemas/config.schema.json").read_text()
    assert stored == config_schema(), "run: roformermil schema > workflow/schemas/config.schema.json"


def test_reference_is_in_step():
    stored = (ROOT / "docs/reference.md").read_text()
    assert stored == config_reference(), "run: roformermil schema --markdown > docs/reference.md"


def test_every_setting_is_documented_in_the_schema():
    for name, section in json.loads(config_schema())["$defs"].items():
        undocumented = [key for key, value in section["properties"].items() if "description" not in value]
        assert not undocumented, f"{name}: {undocumented}"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"training": {"epoch": 3}}, r"training.epoch: unknown key; did you mean `epochs`\?"),
        ({"training": {"epochs": 0}}, r"training.epochs: .*greater than or equal to 1 \(got 0\)"),
        ({"training": {"learning_rate": "fast"}}, r"training.learning_rate: .*number.*'fast'"),
        ({"models": ["abmil", "abmil"]}, r"models: \['abmil'\] stand twice.*label"),
        ({"models": ["vit"]}, r"models.1.name: 'vit' is none of abmil, ro-abmil"),
        (
            {"models": [{"name": "abmil", "hiden_dim": 3}]},
            r"models.1.hiden_dim: unknown key; did you mean `hidden_dim`",
        ),
        ({"datasets": {"d": {**DATASETS["d"], "class": 1}}}, r"datasets.d.class: unknown key; did you mean `classes`"),
        ({"datasets": {"d": {"root": "."}}}, r"datasets.d.slides: is missing"),
        ({"tissue": {"median": 4}}, r"tissue.median: .*odd"),
        ({"datasets": {}}, r"datasets: .*at least 1"),
    ],
)
def test_errors_name_the_key_and_what_was_expected(change, expected):
    with pytest.raises(ConfigError, match=expected):
        read_settings(Config, {"datasets": DATASETS} | change)


def test_settings_survive_the_command_line():
    settings = Training(learning_rate=3e-5, monitor="auroc")
    assert read_settings(Training, to_json(settings)) == settings
    assert read_settings(Tissue, "{method: otsu}").method == "otsu"
    with pytest.raises(ConfigError, match="has no keys; write it as"):
        read_settings(Training, "epochs=3", "--training")


def test_settings_that_would_be_ignored_are_refused():
    for settings in ({"name": "abmil", "rope_scale": 2}, {"name": "ro-abmil", "position": "none", "rope_scale": 2}):
        with pytest.raises(ConfigError, match="say nothing without"):
            read_settings(Model, settings)
    with pytest.raises(ConfigError, match="seed is for weights: random"):
        read_settings(Encoder, {"seed": 1})


@pytest.mark.parametrize(
    "names", [{"datasets": {"logs": DATASETS["d"]}}, {"datasets": DATASETS, "encoder": {"id": "tiles"}}]
)
def test_names_that_are_folders_already_are_refused(names):
    with pytest.raises(ConfigError, match="folder"):
        read_settings(Config, names)


def test_the_schema_takes_what_the_documentation_shows():
    from jsonschema import validate

    config = {
        "datasets": DATASETS,
        "models": ["abmil", {"name": "ro-abmil", "num_heads": 4}],
        "tissue": {"method": "otsu"},
    }
    validate(config, json.loads(config_schema()))


def test_random_weights_are_always_named_as_such():
    assert Encoder(weights="random").id == "resnet50-random"
    assert Encoder(weights="random", id="mine").id == "mine-random"
    assert Encoder(weights="a/b/my_net.pth").id == "resnet50-my_net"
    assert Encoder().id == "resnet50-imagenet"


def test_plain_models_refuse_a_position():
    with pytest.raises(ConfigError, match="ro-abmil and ro-dsmil have"):
        read_settings(Model, {"name": "abmil", "position": "rope"})


def test_the_papers_configuration_is_the_release_s():
    """Values as read in the release's conf/training.yaml, conf/model_dict.yaml, conf/create_splits.yaml."""
    config = load_config(ROOT / "config/paper.yaml")
    released = {
        "learning_rate": 1e-4, "weight_decay": 1e-5, "batch_size": 4, "patience": 10, "monitor": "accuracy",
        "scheduler_factor": 0.1, "scheduler_patience": 5, "precision": "fp16", "epochs": 50, "max_tiles": None,
    }  # fmt: skip
    assert {key: getattr(config.training, key) for key in released} == released
    assert (config.folds.mode, config.folds.count, config.folds.group_by_patient) == ("paper", 10, False)
    models = {model.id: model for model in config.models}
    assert list(models) == ["ro-abmil", "abmil", "ro-dsmil", "dsmil", "transmil"]
    for name in ("ro-abmil", "ro-dsmil"):
        model = models[name]
        assert (model.hidden_dim, model.heads, model.layers, model.dropout) == (512, 8, 1, 0.25)
        assert (model.position, model.rope_frequencies, model.rope_scale) == ("rope", "pixel", 1.0)
    assert (config.tiles.tile_px, config.tiles.target_mpp) == (256, 0.5)
    assert (config.tissue.threshold, config.tissue.median, config.tissue.close) == (8, 7, 4)


@pytest.mark.parametrize(
    ("section", "given", "message"),
    [
        (Folds, {"mode": "paper", "group_by_patient": True}, "splits by slide"),
        (Folds, {"mode": "paper", "path": "x.csv"}, "either given by path or made"),
        (Ablation, {"scales": [1, 1.0000001]}, "each value once"),
        (Overhead, {"models": ["mean", {"name": "mean", "num_layers": 2}]}, "stand twice"),
        (Ablation, {"model": "abmil"}, "must be ro-abmil or ro-dsmil"),
        (Model, {"name": "transmil", "num_layers": 0}, "never meets the tiles"),
        (Model, {"name": "mean", "position": "sine"}, "ro-abmil and ro-dsmil have"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(section, given, message):
    with pytest.raises(ConfigError, match=message):
        read_settings(section, given)
