"""The settings that a search tries."""

import pytest

from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.config.model import Model
from roformermil.config.search import SEARCHABLE
from roformermil.config.training import Training
from roformermil.errors import ConfigError
from roformermil.studies.search_space import DEFAULT, check_searches, list_searches, list_settings

SPACE = {"learning_rate": ["1e-4", 1e-3, 3e-3], "dropout": [0, 0.25, 0.5], "max_tiles": [None, 100]}
REFUSED = [
    (
        {"space": {"learning_rates": [1]}},
        "learning_rates is no key of section Model or Training; did you mean `learning_rate`",
    ),
    ({"space": {"seed": [1, 2]}}, "search.space: seed cannot be searched"),
    ({"space": {"name": ["abmil"]}}, "search.space: name cannot be searched"),
    ({"space": {"covariates": [True]}}, "search.space: covariates cannot be searched: it makes another model"),
    ({"space": {"dropout": [0.5]}, "models": ["mean-linear"]}, "search.models: mean-linear has nothing to search"),
    ({"space": {"class_weights": ["none", "balanced"]}}, "search.score: class_weights changes what .*set it to auroc"),
    ({"space": {"dropout": []}}, "search.space.dropout: .*at least 1"),
    ({"space": {"dropout": 0.5}}, r"search.space.dropout: 0.5 is not a list; write \[0.5\]"),
    (
        {"space": {key: list(range(101)) for key in ("epochs", "patience", "batch_size")}},
        "more than 1,000,000 settings",
    ),
    ({"models": ["dsmil"]}, "search.models: dsmil is none of the models"),
    ({"datasets": ["e"]}, "search.datasets: e is none of the datasets trained on: d$"),
    ({"space": {"dropout": [2]}}, r"search.space \(ro-abmil, dropout=2\): dropout: .*less than 1"),
    ({"space": {"hidden_dim": [100]}}, r"\(ro-abmil, hidden_dim=100\).*multiples of num_heads"),
]


def config(**values):
    sections = {
        "datasets": {"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}},
        "models": ["mean-linear", "abmil", "ro-abmil"],
    }
    return read_settings(Config, sections | values)


def settings_of(**search):
    return list(list_searches(config(search=search))["ro-abmil"].values())


def test_the_model_as_configured_comes_first_and_no_setting_twice():
    settings = settings_of(space=SPACE, budget=100)
    assert (settings[0].name, settings[0].model.id, settings[0].training) == (DEFAULT, "ro-abmil", Training())
    tried = [(one.training.learning_rate, one.model.dropout, one.training.max_tiles) for one in settings]
    assert len(set(tried)) == len(tried) == 3 * 3 * 2, "the default is one of the space"
    assert {one.model.id for one in settings} == {"ro-abmil"}
    by_name = {one.name: one for one in settings}
    assert by_name["learning_rate=0.003,dropout=0.5,max_tiles=100"].training.learning_rate == 3e-3


def test_a_larger_budget_adds_settings_and_another_seed_draws_others():
    few, more = (settings_of(space=SPACE, budget=budget) for budget in (5, 9))
    assert len(few) == 5 and more[:5] == few
    assert settings_of(space=SPACE, budget=5, seed=2)[1:] != few[1:]


def test_settings_of_the_rotary_encoding_have_no_effect_without_it():
    settings = settings_of(space={"position": ["rope", "none"], "rope_scale": [1, 3]}, budget=10)
    assert [(one.model.position, one.model.rope_scale) for one in settings[:1]] == [("rope", 1)]
    assert sorted((one.model.position, one.model.rope_scale) for one in settings) == [
        ("none", 1),
        ("rope", 1),
        ("rope", 3),
    ]


def test_a_key_belongs_to_one_section():
    assert len(set(SEARCHABLE)) == len(SEARCHABLE) and not set(Model.model_fields) & set(Training.model_fields)


@pytest.mark.parametrize(("search", "message"), REFUSED)
def test_what_cannot_be_searched_is_refused(search, message):
    with pytest.raises(ConfigError, match=message):
        list_searches(config(search=search))


def test_by_default_a_model_with_layers_is_searched():
    space = {"space": {"learning_rate": [1e-3]}}
    assert list(list_searches(config(search=space))) == ["ro-abmil"]
    assert list(list_searches(config(search=space, models=["mean-linear", "abmil"]))) == ["abmil"]
    with pytest.raises(ConfigError, match="no model of `models` has layers"):
        list_searches(config(search=space, models=["mean-linear"]))


def test_weighted_classes_need_another_score_than_the_loss():
    with pytest.raises(ConfigError, match="search.score: sampler changes what .*set it to auroc"):
        config(search={"space": {"dropout": [0.5]}}, training={"sampler": "balanced"})
    config(search={"space": {"dropout": [0.5]}, "score": "auroc"}, training={"sampler": "balanced"})


def test_nothing_is_searched_unless_there_is_a_space():
    assert list_searches(config()) == {}
    with pytest.raises(ConfigError, match="nothing to search: give search.space"):
        check_searches({})


def test_the_id_of_chosen_settings_is_taken_by_no_other_model():
    models = ["ro-abmil", {"name": "abmil", "id": "ro-abmil.searched"}]
    with pytest.raises(ConfigError, match="ro-abmil.searched is the id of what the search chooses"):
        list_searches(settings := config(models=models, search={"space": SPACE}))
        list_settings(settings, settings.models[0])
