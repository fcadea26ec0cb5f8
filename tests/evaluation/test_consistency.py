"""Folds of a finished run, one thing changed at a time: settings, classes, slides, features, predictions."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from roformermil.bags.folds import read_folds, write_folds
from roformermil.cohort.slide_table import SlideRecord, read_slide_table, write_slides_csv
from roformermil.config import Config, Decisions, Model, Training
from roformermil.config.base import to_json
from roformermil.deployment.export import export_model
from roformermil.deployment.model_card import Preparation
from roformermil.errors import ModelError
from roformermil.evaluation.consistency import (
    compare_files,
    compare_settings,
    read_results,
    reasons_to_evaluate_again,
    reasons_to_train_again,
)
from roformermil.evaluation.fold_results import MODEL_FILE, FoldResult, read_metadata
from roformermil.evaluation.predictions import out_of_fold
from roformermil.evaluation.tables import write_tables
from roformermil.report.heatmaps.gallery import copy_gallery
from roformermil.report.plots.dataset import plot_dataset
from roformermil.runtime.provenance import write_provenance
from roformermil.studies.ablation import write_ablation
from tests.factories import SimulatedRun, write_training_files

CLASSES = ["a", "b"]
RECORDS = [SlideRecord(f"s{k}", Path(f"s{k}.svs"), tiles=9, fingerprint=f"f{k}") for k in range(24)]
FEATURES = json.dumps({record.slide_id: record.fingerprint for record in RECORDS})


def config(classes=CLASSES, training=None, **model) -> Config:
    dataset = {"slides": "s.csv", "root": ".", "classes": classes}
    models = [{"name": "mean", "id": "m", **model}]
    return Config(datasets={"set": dataset}, models=models, training=training or {})


@pytest.fixture
def run(tmp_path) -> SimulatedRun:
    """Three folds of one model, trained with the default settings on the features f0 to f23."""
    run = SimulatedRun(tmp_path)
    run.add_model("set", run.add_dataset("set", CLASSES, records=RECORDS), CLASSES, "m")
    for path in run.predictions:
        write_training_files(path, features=FEATURES)
    return run


def change_predictions(run):
    path = run.predictions[1]
    path.write_text(path.read_text().replace("0.", "0.1", 1))


def change_shuffled(run):
    path = run.predictions[1].with_name("shuffled.csv")
    path.write_text(path.read_text() + "s1,p1,a,0,0.5,0.5\n")


def remove_shuffled(run):
    run.predictions[1].with_name("shuffled.csv").unlink()


def divide_otherwise(run):
    rows = read_folds(run.folder / "set/folds.csv")
    write_folds(run.folder / "set/folds.csv", [replace(row, part="train") if row.fold == 1 else row for row in rows])


def change_records(run, change):
    table = run.folder / "set/slides.csv"
    write_slides_csv(table, [change(one) if one.slide_id == "s5" else one for one in read_slide_table(table)])


def retrain(run, **metadata):
    write_training_files(run.predictions[1], **{"features": FEATURES, **metadata})


OTHER_FEATURES = partial(change_records, change=lambda record: replace(record, fingerprint="other"))
NOT_USABLE = partial(change_records, change=lambda record: replace(record, status="unreadable"))
ONE_FOLD = {  # what is changed in fold 1, and what is said of it
    "edited predictions": (change_predictions, "predictions.csv: not what the model predicted after training"),
    "edited shuffled predictions": (change_shuffled, "shuffled.csv: not what the model predicted after training"),
    "no shuffled predictions": (remove_shuffled, "shuffled.csv: is missing"),
    "other folds": (divide_otherwise, "folds.csv divides its slides in another way"),
    "other features": (OTHER_FEATURES, "trained on other features of s5"),
    "a slide that failed since": (NOT_USABLE, "trained on slides that are not usable according to slides.csv: s5"),
    "another fold's model": (partial(retrain, fold="2"), "its model.safetensors is the model of set, fold 2"),
    "another model": (
        partial(retrain, model=to_json(Model(name="max", id="m"))),
        "trained with models.name max instead of mean",
    ),
    "other training": (
        partial(retrain, training=to_json(Training(seed=2))),
        "trained with training.seed 2 instead of 1",
    ),
    "classes in another order": (
        partial(retrain, classes='["b", "a"]'),
        "trained with classes [b, a] instead of [a, b]",
    ),
}


@pytest.mark.parametrize("change", ONE_FOLD)
@pytest.mark.parametrize("settings", ["{}", config().model_dump_json()], ids=["no configuration", "configuration"])
def test_a_fold_that_is_not_what_it_is_taken_for_is_refused_by_name(run, change, settings):
    write_tables(run.predictions, run.datasets, run.folder, settings)
    edit, message = ONE_FOLD[change]
    edit(run)
    with pytest.raises(ModelError) as error:
        write_tables(run.predictions, run.datasets, run.folder, settings)
    assert f"set/net/m, fold {'0, 1, 2' if 's5' in message else '1'}: {message}" in str(error.value)
    assert f"--forcerun {run.folder}/set/net/m/fold_*/model.safetensors" in str(error.value)


CONFIGURATIONS = {
    "classes swapped": (config(classes=["b", "a"]), "trained with classes [a, b] instead of [b, a]"),
    "a class renamed": (config(classes=["a", "c"]), "trained with classes [a, b] instead of [a, c]"),
    "a model setting": (config(hidden_dim=64), "trained with models.hidden_dim 512 instead of 64"),
    "a training setting": (config(training={"epochs": 3}), "trained with training.epochs 50 instead of 3"),
    "what decides no result": (config(training={"cache_gb": 1.0, "readers": 2, "seeds": 2}), ""),
    "nothing": (config(), ""),
}


@pytest.mark.parametrize("change", CONFIGURATIONS)
def test_all_folds_must_be_of_the_configuration_and_else_snakemake_trains_them_again(run, change):
    settings, message = CONFIGURATIONS[change]
    models = {model.id: model for model in settings.models}
    lines = [reasons_to_train_again(path.with_name(MODEL_FILE), settings, models) for path in run.predictions]
    if message:
        with pytest.raises(ModelError) as error:
            read_results(run.predictions, run.datasets, settings, settings.models)
        assert f"set/net/m, fold 0, 1, 2: {message}\n" in str(error.value)
        assert lines == [[f"m: {message}: will be trained again"]] * 3
    else:
        assert len(read_results(run.predictions, run.datasets, settings, settings.models)) == 3 and lines == [[]] * 3


@pytest.fixture
def seeded(tmp_path) -> SimulatedRun:
    """Three folds of one model with the seeds 1 and 2, of which only the second is in the names of folders."""
    run = SimulatedRun(tmp_path)
    run.add_model("set", run.add_dataset("set", CLASSES, records=RECORDS), CLASSES, "m", seeds=2)
    for path in run.predictions:
        write_training_files(path, features=FEATURES)
    return run


def read_and_plan(run, config=None) -> tuple[str, list[list[str]]]:
    """The error of `read_results`, if any, and the reasons of each training to train again."""
    models = {model.id: model for model in config.models} if config else {}
    reasons = [reasons_to_train_again(path.with_name(MODEL_FILE), config, models) for path in run.predictions if config]
    try:
        read_results(run.predictions, run.datasets, config, config.models if config else ())
    except ModelError as error:
        return str(error), reasons
    return "", reasons


def test_each_training_must_have_the_seed_of_its_folder(seeded):
    assert read_and_plan(seeded) == ("", [])
    assert read_and_plan(seeded, config(training={"seeds": 2})) == ("", [[]] * 6)
    error, reasons = read_and_plan(seeded, config(training={"seed": 3, "seeds": 2}))
    assert "set/net/m, fold 0, 1, 2: trained with training.seed 1 instead of 3\n" in error and "(seed 2)" not in error
    assert [bool(lines) for lines in reasons] == [True, False] * 3, (
        "first trainings have the configuration's first seed"
    )
    write_training_files(seeded.predictions[3], features=FEATURES, training=to_json(Training(seed=5)))
    for settings in (None, config(training={"seeds": 2})):
        error, reasons = read_and_plan(seeded, settings)
        assert "set/net/m, fold 1 (seed 2): trained with training.seed 5 instead of 2\n" in error
        assert [bool(lines) for lines in reasons] in ([], [False] * 3 + [True] + [False] * 2)


def test_the_model_of_another_seed_is_not_taken_for_this_one(seeded):
    """By `compare_files` alone, as `trace` does it."""
    result = FoldResult.at(seeded.predictions[1])
    assert compare_files(result) == []
    write_training_files(result.path, training=to_json(Training(seed=5)), seed="5")
    assert compare_files(FoldResult.at(result.path)) == ["its model.safetensors is the model of set, fold 0, seed 5"]


def test_folds_that_chose_their_settings_need_not_be_alike(tmp_path):
    run, models = SimulatedRun(tmp_path), ("m", "m.searched")
    folds = run.add_dataset("set", CLASSES, records=RECORDS)
    for name in models:
        for fold, path in enumerate(run.add_model("set", folds, CLASSES, name)):
            write_training_files(path, features=FEATURES, training=to_json(Training(learning_rate=10.0 ** -(fold + 2))))
    alike, chosen = ([path for path in run.predictions if path.parts[-3] == name] for name in models)
    assert len(read_results(chosen)) == 3
    with pytest.raises(ModelError, match="trained with training.learning_rate"):
        read_results(alike)


def test_a_damaged_model_is_trained_again_and_one_not_trained_yet_is_left_to_snakemake(run):
    file, models = run.predictions[0].with_name(MODEL_FILE), {"m": config().models[0]}
    file.write_bytes(b"cut")
    assert "the model is missing or damaged" in reasons_to_train_again(file, config(), models)[0]
    file.unlink()
    assert not reasons_to_train_again(file, config(), models)


def test_tables_of_other_data_sets_models_or_seeds_are_made_again(tmp_path):
    provenance, other = tmp_path / "provenance.json", Config(**config().model_dump() | {"models": ["max"]})
    assert not reasons_to_evaluate_again(provenance, config())
    write_provenance(provenance, config(training={"epochs": 3}).model_dump_json())
    assert not reasons_to_evaluate_again(provenance, config())
    repeated = Config(**config().model_dump() | {"folds": {"repeats": 2}})
    for changed in (other, config(training={"seeds": 2}), repeated):
        reasons = reasons_to_evaluate_again(provenance, changed)
        assert reasons == ["its tables are of other data sets, models, folds or seeds"]
    changed = config().model_copy(update={"decisions": Decisions(sensitivity=0.9)})
    assert reasons_to_evaluate_again(provenance, changed) == ["its tables are of other operating points"]
    provenance.write_text("{")
    assert "damaged" in reasons_to_evaluate_again(provenance, config())[0]


def test_every_step_that_reads_folds_refuses_those_of_other_settings_or_edited_ones(run):
    out, data = run.folder, run.folder / "set"
    tables = partial(write_tables, run.predictions, run.datasets, out)
    ablation = partial(write_ablation, run.predictions, [("scale", "1", "m")], "m", {"set": data / "features/net"}, out)
    for step in (tables, ablation):
        with pytest.raises(ModelError, match=r"trained with classes \[a, b\] instead of \[b, a\]"):
            step(config(classes=["b", "a"]).model_dump_json())
    change_predictions(run)
    plots, gallery = partial(plot_dataset, run.predictions, out), partial(copy_gallery, run.predictions, out, out, 1)
    package = partial(export_model, run.predictions, data, data / "features/net", Preparation(), out / "model")
    for step in (tables, ablation, plots, gallery, package):
        with pytest.raises(ModelError, match="fold 1: predictions.csv: not what the model predicted after training"):
            step()


def test_probabilities_are_found_by_the_name_of_their_class(run):
    """Columns in another order than the model's classes, as no fold of this package has them."""
    (before,) = out_of_fold(read_results(run.predictions))
    for path in run.predictions:
        rows = [line.split(",") for line in path.read_text().splitlines()]
        path.write_text("".join(",".join([*row[:4], row[5], row[4]]) + "\n" for row in rows))
        write_training_files(path, classes='["a", "b"]')
    (after,) = out_of_fold(read_results(run.predictions))
    assert after.classes == before.classes and (after.predictions == before.predictions).all()
    assert (after.targets == before.targets).all()


def test_metadata_are_read_from_the_header_and_a_file_without_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    for content in (b"", b"text", b"\xff" * 64, (2).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"model.safetensors: the model is missing or damaged"):
            read_metadata(path)
    save_file({}, path, {"classes": "é"})
    assert read_metadata(path) == {"classes": "é"}


def test_a_list_of_numbers_in_place_of_a_word_is_told():
    (line,) = compare_settings({"training.class_weights": "none"}, {"training.class_weights": [1.0, 3.0]})
    assert "[1.0, 3.0]" in line and "none" in line
