from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from roformermil.cohort.slide_table import SlideRecord
from roformermil.evaluation.metrics import METRICS
from roformermil.evaluation.predictions import read_table
from roformermil.evaluation.summary import class_table
from roformermil.evaluation.tables import write_tables
from tests import ROOT
from tests.factories import NO_LEAK, SimulatedRun, class_scores

DATASETS = {"one": "resnet50-random", "002": "net"}  # and their encoders
LEAK = replace(NO_LEAK, outcome="leak", detail="3 patients are in two parts of a fold")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> SimulatedRun:
    """Two data sets of which `one` lost a slide and `002` leaks, with two models of three folds, and their tables."""
    run = SimulatedRun(tmp_path_factory.mktemp("run"))
    for dataset, encoder in DATASETS.items():
        second = SlideRecord("b", Path("b.svs"), status="ok" if dataset == "002" else "unreadable")
        finding = LEAK if dataset == "002" else NO_LEAK
        folds = run.add_dataset(dataset, "xy", records=[SlideRecord("a", Path("a.svs")), second], findings=[finding])
        for seed, model in enumerate(("abmil", "ro-abmil")):
            run.add_model(dataset, folds, "xy", model, encoder, seed=seed)
    write_tables(run.predictions, run.datasets, run.folder)
    return run


def aurocs(run: SimulatedRun, dataset: str, model: str) -> list[float]:
    """Of each fold, from its test predictions."""
    tables = [pd.read_csv(path) for path in run.predictions if {dataset, model} <= set(path.parts)]
    tests = [table[table.part == "test"] for table in tables]
    return [roc_auc_score(table.label == "y", table.probability_y) for table in tests]


def test_tables_are_computed_from_test_predictions(run):
    metrics, summary = read_table(run.folder / "metrics.csv"), read_table(run.folder / "summary.csv")
    assert list(metrics) == ["dataset", "encoder", "model", "fold", "metric", "value"]
    assert list(summary) == ["dataset", "encoder", "model", "metric", "mean", "std", "ci_low", "ci_high", "folds"]
    assert len(metrics) == 2 * 2 * 3 * len(METRICS)
    for (dataset, model), rows in metrics[metrics.metric == "auroc"].groupby(["dataset", "model"]):
        values = aurocs(run, dataset, model)
        assert rows.value.tolist() == pytest.approx(values)
        (row,) = summary.query("dataset == @dataset and model == @model and metric == 'auroc'").to_dict("records")
        assert (row["mean"], row["std"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
        assert row["ci_low"] < row["mean"] < row["ci_high"]


def test_ids_that_look_like_numbers_or_missing_values_are_text(tmp_path):
    (tmp_path / "t.csv").write_text("dataset,model,mean,ci_low\n002,NA,0.5,\n")
    (row,) = read_table(tmp_path / "t.csv").to_dict("records")
    assert (row["dataset"], row["model"], row["mean"]) == ("002", "NA", 0.5) and np.isnan(row["ci_low"])


def test_no_other_function_reads_tables_by_pandas_which_would_turn_names_into_numbers():
    package = ROOT / "roformermil"
    readers = {file.relative_to(package).as_posix() for file in package.rglob("*.py") if "read_csv" in file.read_text()}
    assert readers == {"evaluation/predictions.py"}


def test_the_papers_table_has_means_lost_slides_and_cautions(run):
    text = (run.folder / "summary.md").read_text()
    assert "| model | one (resnet50-random) | 002 (net) |" in text
    values = aurocs(run, "one", "ro-abmil")
    assert f"| ro-abmil | {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} / " in text
    assert "- one: 3 folds; 1 of 2 slides, 1 lost (1 unreadable)" in text
    assert "- 002: 3 folds; 2 of 2 slides\n" in text
    assert "- resnet50-random: random encoder weights" in text
    assert "- 002: training and test share patients, so the metrics are optimistic (3 patients" in text
    assert "- one: 1 of 2 slides are lost" in text and "one: training and test" not in text
    assert "- one: 8 test slides per fold are few" in text
    cautions = read_table(run.folder / "cautions.csv").caution
    assert all(f"- {line}\n" in text for line in cautions) and not cautions.str.contains("3 folds").any()


def test_each_class_has_scikit_learns_metrics_against_the_rest_averaged_over_folds(simulate):
    models = [simulate(k, patients=90, classes=3, model=f"m{k}") for k in range(2)]
    table = class_table(models).set_index(["model", "class", "metric"])
    for model, c in product(models, range(3)):
        truth, decided, scores = model.labels == c, model.decisions == c, model.probabilities[:, c]
        folds = [class_scores(truth[f], decided[f], scores[f]) for f in (model.folds == fold for fold in range(5))]
        for metric, mean in pd.DataFrame(folds).mean().items():
            row = table.loc[(model.model, f"class_{c}", metric)]
            assert row["mean"] == pytest.approx(mean), (c, metric)
            assert row.ci_low < row["mean"] < row.ci_high and row.slides == truth.sum()
