"""A number traced in a small real run: features, three folds trained with two seeds, tables; then one file of the run changed at
a time."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from roformermil.cli import app
from roformermil.cohort.slide_files import content_id
from roformermil.cohort.slide_table import SlideRecord, read_slide_table, write_slides_csv
from roformermil.config import Config, Model, Training
from roformermil.errors import ConfigError
from roformermil.evaluation.tables import write_tables
from roformermil.evaluation.trace import summarise_trace, trace_number
from roformermil.features.store import write_store
from tests.factories import train_run

ROW = "model=mean,metric=auroc"
MODELS = [Model(name="mean", hidden_dim=8), Model(name="ro-abmil", hidden_dim=8, num_heads=2, attention_dim=8)]
TRAINING = Training(epochs=1, epoch_steps=1, seeds=2)


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory) -> Path:
    """The results of a run of 12 slides and three folds with two seeds, of a model without and of one with position."""
    folder = tmp_path_factory.mktemp("run")
    results, records, grid = folder / "results", [], np.stack([np.arange(5), np.zeros(5, int)], axis=1)
    for k in range(12):
        file = folder / f"s{k}.svs"
        file.write_bytes(bytes([k]))
        attributes = {"fingerprint": f"f{k}", "encoder": "net"}
        write_store(results / f"set/features/net/s{k}.zarr", np.full((5, 4), k / 12), grid, grid, attributes)
        records.append(SlideRecord(f"s{k}", file, content=content_id(file), tiles=5, fingerprint=f"f{k}"))
    runs = [train_run(results / "set", "net", records, ["a", "b"], model, TRAINING) for model in MODELS]
    dataset = {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}
    config = Config(datasets={"set": dataset}, models=MODELS, training=TRAINING)
    write_tables([path for run in runs for path in run], [results / "set"], results, config.model_dump_json())
    return results


@pytest.fixture
def results(trained_run, tmp_path):
    """A copy to change; the slide files remain where slides.csv has them, and are restored afterwards."""
    yield shutil.copytree(trained_run, tmp_path / "results")
    (trained_run.parent / "s4.svs").write_bytes(bytes([4]))


def test_a_number_is_traced_to_folds_models_features_and_slides(results):
    trace = trace_number(results / "summary.csv", ROW, read_features=True)
    assert trace["differs"] == []
    assert [(fold["fold"], fold["seed"]) for fold in trace["folds"]] == [(k, seed) for k in range(3) for seed in (1, 2)]
    paths = [Path(fold["predictions"]).parent.name for fold in trace["folds"]]
    assert paths == [f"fold_{k}{seed}" for k in range(3) for seed in ("", "_seed_2")]
    assert np.mean([fold["auroc"] for fold in trace["folds"]]) == pytest.approx(trace["mean"])
    assert trace["folds"][0]["model"]["hidden_dim"] == 8
    assert trace["folds"][0]["run"]["torch"] == trace["tables"]["run"]["torch"]
    assert trace["tables"]["config"]["models"][0]["hidden_dim"] == 8
    assert {slide["slide_id"] for slide in trace["slides"]} == {f"s{k}" for k in range(12)}
    assert trace_number(results / "summary.csv", "1")["metric"] == "auroc"


def test_the_summary_has_what_all_folds_share_only_once(results):
    summary = summarise_trace(trace_number(results / "summary.csv", ROW))
    assert summary["differs"] == "nothing" and summary["slides"] == "12, listed by --slides"
    assert summary["all_folds"]["model"]["hidden_dim"] == 8 and summary["all_folds"]["training"]["epochs"] == 1
    assert all({"model", "training"}.isdisjoint(fold) for fold in summary["folds"])


@pytest.mark.parametrize("metric", ["auroc", "pooled_auroc"])
def test_numbers_with_shuffled_positions_and_of_all_folds_together_are_traced_too(results, metric):
    row = f"model=ro-abmil,metric={metric}"
    trace = trace_number(results / "summary.csv", row)
    assert trace["differs"] == [] and len(trace["folds"]) == 6 and trace["seeds"] == 2
    assert trace["shuffled_difference"] == pytest.approx(trace["mean"] - trace["shuffled"])
    raise_statistic("shuffled")(results)
    edit_column(results, lambda table: table.repeat / 5, "set/net/ro-abmil/fold_1_seed_2/shuffled.csv")
    differs = trace_number(results / "summary.csv", row)["differs"]
    assert any("summary.csv: shuffled is" in line for line in differs)
    assert any("fold_1_seed_2: shuffled.csv: not what the model predicted" in line for line in differs)


def test_the_verb_exits_with_1_only_if_something_differs(results):
    trace = ["trace", str(results / "summary.csv"), "--row", ROW]
    unchanged = CliRunner().invoke(app, trace)
    assert unchanged.exit_code == 0 and yaml.safe_load(unchanged.output)["differs"] == "nothing"
    edit_folds(results)
    changed = CliRunner().invoke(app, [*trace, "--slides"])
    assert changed.exit_code == 1 and "fold_0: folds.csv divides" in yaml.safe_load(changed.output)["differs"][0]
    assert len(yaml.safe_load(changed.output)["slides"]) == 12


def edit_column(results, change, file="set/net/mean/fold_1/predictions.csv", name="probability_b"):
    """Of one column of a table: `change` returns its new values from the table."""
    pd.read_csv(results / file).assign(**{name: change}).to_csv(results / file, index=False)


def raise_statistic(name):
    return partial(edit_column, change=lambda table: table[name] + 0.1, file="summary.csv", name=name)


def replace_features(results):
    grid = np.zeros((5, 2), int)
    write_store(results / "set/features/net/s3.zarr", np.ones((5, 4)), grid, grid, {"fingerprint": "other"})


def replace_feature_values(results):
    stores = results / "set/features/net"
    shutil.rmtree(stores / "s6.zarr/features/c")
    shutil.copytree(stores / "s7.zarr/features/c", stores / "s6.zarr/features/c")


def replace_slide(results):
    (path,) = (record.path for record in read_slide_table(results / "set/slides.csv") if record.slide_id == "s4")
    path.write_bytes(b"other")


def remove_slide(results):
    records = read_slide_table(results / "set/slides.csv")
    write_slides_csv(results / "set/slides.csv", [record for record in records if record.slide_id != "s2"])


def exchange_models(results):
    folder = results / "set/net/mean"
    shutil.copy(folder / "fold_1/model.safetensors", folder / "fold_0/model.safetensors")


def edit_folds(results):
    path = results / "set/folds.csv"
    path.write_text(path.read_text().replace(",train", ",other", 1))  # of fold 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (partial(edit_column, change=lambda t: (t.label == "a") - t.probability_b), "fold 1: predictions.csv gives"),
        # this changes no rank
        (partial(edit_column, change=lambda t: t.probability_b / 2), "predictions.csv: not what the model predicted"),
        *[
            (raise_statistic(name), f"summary.csv: {name} is")
            for name in ("mean", "std", "ci_low", "ci_high", "seed_std")
        ],
        (replace_features, "s3: its features changed since training"),
        (replace_feature_values, "s6: its features changed since training"),
        (replace_slide, "s4.svs changed since it was read"),
        (remove_slide, "s2: was used in training, but is not a usable slide"),
        (exchange_models, "is the model of set, fold 1"),
        (edit_folds, "fold_0: folds.csv divides its slides in another way"),
    ],
)
def test_every_change_since_is_named(results, change, message):
    change(results)
    assert any(message in line for line in trace_number(results / "summary.csv", ROW, read_features=True)["differs"])


def test_a_missing_file_is_named(results):
    (results / "set/net/mean/fold_2/predictions.csv").unlink()
    with pytest.raises(ConfigError, match="fold_2/predictions.csv"):
        trace_number(results / "summary.csv", ROW)


@pytest.mark.parametrize("row", ["metric=auroc,model=none", "99", "0", "auroc", "encoder=net"])
def test_a_selection_of_not_exactly_one_row_of_the_summary_is_an_error(trained_run, row):
    with pytest.raises(ConfigError, match=f"--row {row}: "):
        trace_number(trained_run / "summary.csv", row)
    with pytest.raises(ConfigError, match="not a summary.csv"):
        trace_number(trained_run / "metrics.csv", "1")
