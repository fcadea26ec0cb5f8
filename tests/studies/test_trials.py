"""Trials of settings in a fold, and the choice among them, from real trainings."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from roformermil.config import Config
from roformermil.errors import ModelError
from roformermil.evaluation.fold_results import TRIAL_FILE, FoldResult
from roformermil.studies.search_space import Setting
from roformermil.studies.trials import (
    Trial,
    choose_setting,
    read_choice,
    reasons_to_train_chosen_again,
    reasons_to_try_again,
    write_choice,
)
from roformermil.training import train_fold, try_fold
from tests.factories import read_rows
from tests.training.conftest import job  # noqa: F401

RATES = {"default": 3e-3, "learning_rate=1e-05": 1e-5, "learning_rate=0.01": 1e-2}


def try_settings(make_job, folder, change=lambda made: made):
    """The folder of a fold's search, with a trial per learning rate."""
    search = folder / "d/net/ro-abmil/search/fold_1"
    for name, rate in RATES.items():
        try_fold(change(make_job(learning_rate=rate, epochs=2)), search / name, progress=False)
    return search


@pytest.fixture
def search(job, tmp_path):  # noqa: F811
    return try_settings(job, tmp_path / "results")


def files(search):
    return [search / name / TRIAL_FILE for name in RATES]


def test_test_slides_cannot_reach_the_choice(search, job, tmp_path):  # noqa: F811
    """Their features are gone and their labels false: trials and choice are the same to the byte."""
    tested = [row.slide_id for row in job().rows if row.part == "test"]

    def damage(made):
        for slide_id in tested:
            shutil.rmtree(made.stores / f"{slide_id}.zarr", ignore_errors=True)
        rows = [
            replace(row, label="b" if row.label == "a" else "a") if row.part == "test" else row for row in made.rows
        ]
        return replace(made, rows=rows)

    write_choice(files(search), "loss", search / "chosen.json")
    other = try_settings(job, tmp_path / "other", damage)
    write_choice(files(other), "loss", other / "chosen.json")
    assert tested and (search / "chosen.json").read_bytes() == (other / "chosen.json").read_bytes()
    for name in RATES:
        for file in ("validation.csv", TRIAL_FILE):
            text = (search / name / file).read_text()
            assert text == (other / name / file).read_text() and not any(slide_id in text for slide_id in tested)
        assert {file.name for file in (search / name).iterdir()} == {"history.csv", "validation.csv", TRIAL_FILE}
    with pytest.raises(Exception, match=tested[0]):  # as a training that reads them would
        train_fold(damage(job(epochs=1)), tmp_path / "fold", progress=False)


def test_a_trial_is_the_training_of_the_fold_without_its_test_slides(search, job, tmp_path):  # noqa: F811
    train_fold(job(learning_rate=3e-3, epochs=2), tmp_path / "fold_1", progress=False)
    fold = [row for row in read_rows(tmp_path / "fold_1/predictions.csv") if row["part"] == "validation"]
    assert read_rows(search / "default/validation.csv") == fold
    trial = Trial.at(search / "default" / TRIAL_FILE)
    assert (trial.key, trial.fold, trial.setting) == (("d", "net", "ro-abmil"), 1, "default")
    trained = FoldResult("d", "net", "ro-abmil", 1, tmp_path / "fold_1/predictions.csv")
    assert trial.settings == trained.settings


def test_the_setting_with_the_best_validation_score_is_chosen(search, job):  # noqa: F811
    def score(name):
        table = pd.read_csv(search / name / "validation.csv")
        return log_loss(table.label == "b", table.probability_b), roc_auc_score(table.label == "b", table.probability_b)

    for name in RATES:
        scores = Trial.at(search / name / TRIAL_FILE).scores()
        assert (scores["loss"], scores["auroc"]) == pytest.approx(score(name))
    best = min(RATES, key=lambda name: score(name)[0])
    assert write_choice(files(search), "loss", search / "chosen.json") == best != "learning_rate=1e-05"
    given = job("mean", seed=7, cache_gb=1)
    model = given.model.model_copy(update={"id": "ro-abmil.searched"})
    name, chosen, training = read_choice(search / "chosen.json", model, given.training)
    assert (name, chosen.id, chosen.name, chosen.hidden_dim) == (best, "ro-abmil.searched", "ro-abmil", 32)
    assert (training.learning_rate, training.epochs, training.seed, training.cache_gb) == (RATES[best], 2, 7, 1)


def test_ties_go_to_the_lower_loss_and_then_to_the_first():
    scores = {"default": (0.5, 0.8), "x": (0.4, 0.8), "y": (0.6, 0.9), "z": (0.4, 0.8)}
    scores = {name: {"loss": loss, "auroc": area} for name, (loss, area) in scores.items()}
    assert choose_setting(scores, "loss") == "x" and choose_setting(scores, "auroc") == "y"
    del scores["y"]
    assert choose_setting(scores, "auroc") == "x"
    scores["x"]["auroc"] = np.nan
    with pytest.raises(ModelError, match="the validation auroc of setting x is undefined; with search.score: loss"):
        choose_setting(scores, "auroc")


def test_trials_of_other_settings_and_edited_predictions_are_found(search, job):  # noqa: F811
    config = Config(datasets={"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}})
    made = job(epochs=2)
    settings = {"default": Setting("default", made.model, made.training)}
    file = search / "default" / TRIAL_FILE
    assert (
        reasons_to_try_again(file, config, settings)
        == []
        == reasons_to_try_again(search / "x/trial.json", config, settings)
    )
    settings["default"] = Setting("default", made.model, job(epochs=3).training)
    assert "trained with training.epochs 2 instead of 3" in reasons_to_try_again(file, config, settings)[0]
    validation = file.with_name("validation.csv")
    validation.write_text(validation.read_text().replace("0.", "0.0", 1))
    with pytest.raises(ModelError, match="not what the model predicted after training"):
        write_choice(files(search), "loss", search / "chosen.json")


def test_a_fold_is_trained_again_where_another_setting_is_chosen(search, job):  # noqa: F811
    config = Config(datasets={"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}})
    made, fold, choice = (
        job(epochs=2),
        search.parents[1].with_name("ro-abmil.searched") / "fold_1",
        search / "chosen.json",
    )
    model = made.model.model_copy(update={"id": "ro-abmil.searched"})
    reasons = lambda: reasons_to_train_chosen_again(fold / "model.safetensors", config, model, choice)  # noqa: E731
    assert reasons() == []
    write_choice(files(search), "loss", choice)
    _, chosen, training = read_choice(choice, model, config.training)
    train_fold(replace(made, model=chosen, training=training), fold, progress=False)
    assert reasons() == []
    content = json.loads(choice.read_text())
    content["training"]["learning_rate"] = 0.5
    choice.write_text(json.dumps(content))
    assert "instead of 0.5: will be trained again" in reasons()[0]
    choice.write_text("{}")
    assert "the choice is missing or damaged" in reasons()[0]
