import json
from datetime import date

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
    ({"datasets": {"logs": DATASETS["d"]}}, "logs is the name of another file or folder in results"),
    ({"datasets": {"Logs": DATASETS["d"]}}, "Logs is the name of another"),  # the same folder on some disks
    ({"datasets": {"report.html": DATASETS["d"]}}, "report.html is the name of another"),
    (
        {"datasets": {"d": {**DATASETS["d"], "classes": ["a b", ""]}}},
        r"classes.1: 'a b' may only have letters A to Z, d",
    ),
    ({"datasets": {"d": {**DATASETS["d"], "classes": ["", "a"]}}}, r"classes.1: is empty"),
    ({"datasets": {"d": {**DATASETS["d"], "classes": "benign, tumor"}}}, r"is not a list; write \[benign, tumor\]$"),
    ({"datasets": {"d": {**DATASETS["d"], "classes": {"no": 0, "yes": 1}}}}, r'is not a list; write \["no", "yes"\]$'),
    ({"datasets": {"d": {**DATASETS["d"], "classes": "0 1"}}}, r"""'0 1' is not a list; write \["0", "1"\]$"""),
    ({"decisions": {"sensitivity": 0.9, "specificity": 0.9}}, "decisions: .*leave one out"),
    ({"decisions": {"prevalence": {"a": 0.1}}}, r"decisions.prevalence: a is none of the classes b; of two classes"),
    ({"ablation": {"datasets": ["e"]}}, "ablation.datasets: e is none of the datasets trained on: d$"),
    ({"ablation": {"datasets": []}}, "ablation.datasets: .*at least 1"),
    ({"ablation": {"layers": "0, 1"}}, r"is not a list; write \[0, 1\]$"),
    ({"models": "abmil"}, r"models: 'abmil' is not a list; write \[abmil\]"),
    ({"training": None}, "training: is empty; give it a value, or remove the key"),
    ({"datasets": ["d"]}, r"datasets: needs keys and values, as in {key: value} \(got \['d'\]\)"),
    ({"encoder": {"id": "tiles"}}, "tiles is another folder"),
    ({"tiles": {"magnification": 20}}, r"tiles.magnification: tiles are cut at a resolution.*write target_mpp: 0.5 \("),
    ({"tiles": {"target_mag": "40x"}}, r"tiles.target_mag: .*; write target_mpp: 0.25 \(um/px; 10 / 40\)$"),
    ({"tiles": {"objective": "high"}}, "tiles.objective: 'high' is no magnification; write target_mpp in um/px"),
    ({"tiles": {"patch_size": 256}}, "tiles.patch_size: is called `tile_px` here"),
    ({"datasets": {"d": {**DATASETS["d"], "classes": ["a"]}}}, "classes: a is the only class: list two or more, or"),
    # and no second error for a default that is derived from the wrong key
    ({"encoder": {"name": "resnet51"}}, r"^config: encoder.name: .*'resnet51'; did you mean resnet50\?$"),
    ({"folds": {"mode": "x"}}, "^config: folds.mode: 'x' is none of kfold, site, paper$"),
    ({"folds": {"mode": "papper"}}, r"'papper' is none of kfold, site, paper; did you mean `paper`\?$"),
]
# values that YAML, or Snakemake, reads as another type than text; what the error says of them
NOT_TEXT = [
    (0, r'as the number 0, not as text: write it in quotes, as in \["0", "1"\]$'),
    (1.5, "as the number 1.5, not as text: write it in quotes, as in"),
    (False, r"as the truth value \(yes, no, on, off, true and false\) False, not as text: write it in quotes, as in"),
    (True, "truth value .* True, not as text: write it in quotes"),
    (None, "is empty or null: give it a value"),
    (date(2024, 1, 31), "as the date 2024-01-31, not as text: write it in quotes"),
]
NOT_YAML = [
    ("a: b: c", "line 1, column 5: not valid YAML: mapping values are not allowed here"),
    ("a:\n\tb: 1", r"line 2, column 1: not valid YAML: .*; indent with spaces, not tabs"),
    ("datasets: {}\ntraining:\n  epochs: 3\n  epochs: 4\n", "line 4, column 3: .* duplicate key 'epochs'"),
    ("a: 'b", "line 1, column 6: not valid YAML: found unexpected end of stream"),
    ("a: 2024-02-31", ": not valid YAML: day .*"),
    ("\0", ": not valid YAML: unacceptable character .*"),
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
    assert [m.name for m in config.models] == ["mean-linear", "abmil", "ro-abmil", "dsmil", "ro-dsmil"]
    assert (config.training.learning_rate, config.training.batch_size, config.training.epochs) == (1e-4, 4, 50)
    assert (config.tiles.tile_px, config.tiles.target_mpp, config.folds.count) == (256, 0.5, 10)
    assert (config.tissue.threshold, config.tissue.median, config.tissue.close) == (8, 7, 4)
    assert [m.position for m in config.models] == ["none", "none", "rope", "none", "rope"]


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


@pytest.mark.parametrize(("value", "message"), NOT_TEXT)
def test_names_that_yaml_reads_as_another_type_are_to_be_put_in_quotes(value, message):
    dataset = DATASETS["d"] | {"classes": ["a", value]}
    with pytest.raises(ConfigError, match=f"datasets.d.classes.2: .*{message}"):
        read_settings(Config, {"datasets": {"d": dataset}})
    with pytest.raises(ConfigError, match=f"^config: datasets: the key .*{message}"):
        read_settings(Config, {"datasets": {value: DATASETS["d"]}})
    with pytest.raises(ConfigError, match=f"^config: training: the key .*{message}"):
        read_settings(Config, {"datasets": DATASETS, "training": {value: 3}})
    with pytest.raises(ConfigError, match=f"^config: results: .*{message}"):
        read_settings(Config, {"datasets": DATASETS, "results": value})


def test_unquoted_names_are_told_from_a_file_too_and_quoted_ones_are_text(tmp_path):
    text = "datasets:\n  {}: {{slides: s.csv, root: ., classes: [{}, {}]}}\n"
    (tmp_path / "c.yaml").write_text(text.format(2024, "no", "0x1F"))
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "c.yaml")
    assert [line.removeprefix(f"{tmp_path}/c.yaml: ").split(", not")[0] for line in str(error.value).splitlines()] == [
        "datasets: the key is read by YAML as the number 2024",
        "datasets.2024.classes.1: is read by YAML as the truth value (yes, no, on, off, true and false) False",
        "datasets.2024.classes.2: is read by YAML as the number 31",
    ]
    (tmp_path / "c.yaml").write_text(text.format('"2024"', '"no"', "'0x1F'"))
    assert load_config(tmp_path / "c.yaml").datasets["2024"].classes == ["no", "0x1F"]


@pytest.mark.parametrize(("text", "message"), NOT_YAML)
def test_mistakes_in_yaml_name_the_file_and_the_line(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=f"^{tmp_path}/mine.yaml(, )?{message}$"):
        load_config(tmp_path / "mine.yaml")


def test_a_configuration_that_is_not_utf8_is_named_and_a_byte_order_mark_is_not_an_error(tmp_path):
    text = "# é\ndatasets: {d: {slides: s.csv, root: ., classes: [a, b]}}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=f"{tmp_path}/mine.yaml: is not UTF-8 text"):
        load_config(tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8-sig")
    assert load_config(tmp_path / "mine.yaml").datasets["d"].classes == ["a", "b"]


def test_a_tilde_is_the_users_home_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    dataset = DATASETS["d"] | {"slides": "~/s.csv", "root": "~"}
    sections = {"encoder": {"weights": "~/w.pth"}, "tissue": {"method": "grandqc", "weights": "~/t.pth"}}
    config = read_settings(
        Config, {"datasets": {"d": dataset}, "results": "~/out", "folds": {"path": "~/{dataset}.csv"}, **sections}
    )
    paths = [config.datasets["d"].slides, config.datasets["d"].root, config.results, config.encoder.weights_path]
    assert list(map(str, [*paths, config.tissue.weights, config.folds.path])) == [
        *("/home/me/s.csv", "/home/me", "/home/me/out", "/home/me/w.pth"),
        *("/home/me/t.pth", "/home/me/{dataset}.csv"),
    ]
    assert read_settings(Config, to_json(config)) == config


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


def external(**values):
    other = {"slides": "t.csv", "root": ".", "validates": "d"} | values
    return read_settings(Config, {"datasets": {"first": other, **DATASETS}})


def test_an_external_data_set_has_the_classes_of_the_one_it_validates_and_is_not_trained_on():
    for given in ({}, {"classes": ["a", "b"]}):
        config = external(**given)
        assert config.datasets["first"].classes == ["a", "b"]
        assert (config.trained_datasets, config.external_datasets) == (["d"], {"first": "d"})
        assert config.ablation_datasets == ["d"]


def test_an_external_data_set_of_no_other_or_with_other_classes_is_refused():
    for wrong in ("nothing", "first"):
        with pytest.raises(ConfigError, match=f"first.validates: {wrong} is no data set that is trained on: d"):
            external(validates=wrong)
    with pytest.raises(
        ConfigError, match=r"first.classes: leave them out, or give those of d in their order: \[a, b\]"
    ):
        external(classes=["b", "a"])
    with pytest.raises(ConfigError, match="ablation.datasets: x is none of the datasets trained on: d"):
        changed = {"x": {"slides": "t.csv", "root": ".", "validates": "d"}, **DATASETS}
        read_settings(Config, {"datasets": changed, "ablation": {"datasets": ["x"]}})


NO_CLASSES = {"d": {"slides": "s.csv", "root": "."}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"datasets": DATASETS}, "task: survival has no classes: datasets.d.classes: leave it out"),
        ({"training": {"class_weights": "balanced"}}, "training.class_weights: set it to none"),
        ({"training": {"sampler": "balanced"}}, "training.sampler: set it to shuffle"),
        ({"training": {"monitor": "auroc"}}, "training.monitor: set it to loss"),
        ({"decisions": {"temperature": True}}, "decisions.temperature: leave it out"),
        ({"search": {"space": {"dropout": [0.0, 0.1]}, "score": "auroc"}}, "search.score: set it to loss"),
    ],
)
def test_what_only_classes_have_is_refused_for_another_task(change, expected):
    Config(task="survival", datasets=NO_CLASSES)
    with pytest.raises(ConfigError, match=expected):
        read_settings(Config, {"task": "survival", "datasets": NO_CLASSES, **change})
