from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from roformermil.cohort.slide_table import SlideRecord
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.position import position_sentence
from roformermil.evaluation.predictions import OutOfFold, out_of_fold, read_table
from roformermil.evaluation.summary import POSITION, class_table
from roformermil.evaluation.tables import write_tables
from roformermil.tasks import CLASSIFICATION
from tests import ROOT
from tests.factories import NO_LEAK, SimulatedRun, class_scores

DATASETS = {"one": "resnet50-random", "002": "net"}  # and their encoders
LEAK = replace(NO_LEAK, outcome="leak", detail="3 patients are in two parts of a fold")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> SimulatedRun:
    """Two data sets of which `one` lost a slide and `002` leaks, with two models of three folds, and their tables. In `002`, folds
    were trained with two seeds; of ro-abmil there are predictions with shuffled positions."""
    run = SimulatedRun(tmp_path_factory.mktemp("run"))
    for dataset, encoder in DATASETS.items():
        second = SlideRecord("b", Path("b.svs"), status="ok" if dataset == "002" else "unreadable")
        finding = LEAK if dataset == "002" else NO_LEAK
        folds = run.add_dataset(dataset, "xy", records=[SlideRecord("a", Path("a.svs")), second], findings=[finding])
        seeds = 2 if dataset == "002" else 1
        for seed, model in enumerate(("abmil", "ro-abmil")):
            shuffled = 0.0 if model == "ro-abmil" else None
            run.add_model(dataset, folds, "xy", model, encoder, 1.2, seed, seeds=seeds, shuffled_strength=shuffled)
    write_tables(run.predictions, run.datasets, run.folder)
    return run


def aurocs(run: SimulatedRun, dataset: str, model: str, file="predictions.csv") -> np.ndarray:
    """Of each fold and seed, from its test predictions: (folds, seeds). Of shuffled.csv, the mean over repeats."""
    folders = [path.parent for path in run.predictions if {dataset, model} <= set(path.parts)]
    tables = [pd.read_csv(folder / file) for folder in folders]
    tests = [table[table.part == "test"] if "part" in table else table for table in tables]
    repeats = [table.groupby(table.repeat if "repeat" in table else table.part) for table in tests]
    values = [[roc_auc_score(one.label == "y", one.probability_y) for _, one in groups] for groups in repeats]
    return np.mean(values, axis=1).reshape(3, -1)


def read_models(run: SimulatedRun) -> list[OutOfFold]:
    return out_of_fold([FoldResult.at(path) for path in run.predictions])


def summary_row(run: SimulatedRun, dataset: str, model: str, metric="auroc") -> dict:
    table = read_table(run.folder / "summary.csv")
    (row,) = table[(table[["dataset", "model", "metric"]] == [dataset, model, metric]).all(axis=1)].to_dict("records")
    return row


def test_tables_are_computed_from_test_predictions(run):
    metrics, summary = read_table(run.folder / "metrics.csv"), read_table(run.folder / "summary.csv")
    assert list(metrics) == ["dataset", "encoder", "model", "fold", "seed", "metric", "value"]
    columns = "mean std ci_low ci_high folds seeds seed_std shuffled shuffled_difference difference_low difference_high"
    assert list(summary) == ["dataset", "encoder", "model", "metric", *columns.split(), "level"]
    assert len(metrics) == (1 + 2) * 2 * 3 * len(CLASSIFICATION.metrics) and len(summary) == 2 * 2 * (
        len(CLASSIFICATION.metrics) + 1
    )
    for (dataset, model), rows in metrics[metrics.metric == "auroc"].groupby(["dataset", "model"]):
        values = aurocs(run, dataset, model)
        assert rows.value.tolist() == pytest.approx(values.ravel())
        row, folds = summary_row(run, dataset, model), values.mean(axis=1)
        assert (row["mean"], row["std"], row["folds"]) == pytest.approx((folds.mean(), folds.std(ddof=1), 3))
        assert row["ci_low"] < row["mean"] < row["ci_high"]


def test_the_spread_over_seeds_is_that_of_means_over_folds(run):
    assert summary_row(run, "one", "abmil")["seeds"] == 1 and np.isnan(summary_row(run, "one", "abmil")["seed_std"])
    for model in ("abmil", "ro-abmil"):
        row = summary_row(run, "002", model)
        assert row["seeds"] == 2
        assert row["seed_std"] == pytest.approx(aurocs(run, "002", model).mean(axis=0).std(ddof=1))


def test_the_difference_that_shuffling_makes_is_paired_by_patient(run):
    """Its interval against a jackknife by hand; a model without position has none."""
    for dataset in DATASETS:
        row = summary_row(run, dataset, "ro-abmil")
        shuffled = aurocs(run, dataset, "ro-abmil", "shuffled.csv").mean()
        assert row["shuffled"] == pytest.approx(shuffled)
        assert row["shuffled_difference"] == pytest.approx(row["mean"] - shuffled)
        (model,) = (one for one in read_models(run) if one.key == (dataset, DATASETS[dataset], "ro-abmil"))
        ids, differences = np.unique(model.patients), []
        for patient in ids:
            rest = model.select(model.patients != patient)
            by_run = [
                roc_auc_score(rest.targets[f], rest.predictions[f, 1])
                - np.mean([roc_auc_score(rest.targets[f], one[f, 1]) for one in rest.shuffled])
                for f in rest.tests
            ]
            differences.append(np.mean(by_run))
        half = t.ppf(0.975, len(ids) - 3) * np.std(differences) * np.sqrt(len(ids) - 1)
        bounds = (row["shuffled_difference"] - half, min(1, row["shuffled_difference"] + half))
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(bounds)
        for metric in (*CLASSIFICATION.metrics, "pooled_auroc"):
            assert np.isfinite([summary_row(run, dataset, "ro-abmil", metric)[name] for name in POSITION]).all()
            assert np.isnan([summary_row(run, dataset, "abmil", metric)[name] for name in POSITION]).all()


def test_the_pooled_auroc_is_that_of_all_folds_together_mean_over_seeds(run):
    for model in read_models(run):
        row = summary_row(run, model.dataset, model.model, "pooled_auroc")
        by_seed = [model.seeds == seed for seed in np.unique(model.seeds)]
        values = [roc_auc_score(model.targets[rows], model.predictions[rows, 1]) for rows in by_seed]
        assert row["mean"] == pytest.approx(np.mean(values)) and row["ci_low"] < row["mean"] < row["ci_high"]
        assert (row["folds"], row["seeds"]) == (3, len(values)) and np.isnan(row["std"])
        assert row["seed_std"] == pytest.approx(np.std(values, ddof=1) if len(values) > 1 else np.nan, nan_ok=True)
        if model.shuffled is not None:
            shuffled = [roc_auc_score(model.targets[rows], one[rows, 1]) for rows in by_seed for one in model.shuffled]
            assert row["shuffled"] == pytest.approx(np.mean(shuffled))


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
    values = aurocs(run, "one", "ro-abmil")[:, 0]
    assert f"| ro-abmil | {np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} / " in text
    assert "- one: 3 folds; 1 of 2 slides, 1 lost (1 unreadable)" in text
    assert "- 002: 3 folds of 2 seeds; 2 of 2 slides\n" in text
    assert "- resnet50-random: random encoder weights" in text
    assert "- 002: training and test share patients, so the metrics are optimistic (3 patients" in text
    assert "- one: 1 of 2 slides is lost" in text and "one: training and test" not in text
    assert "- one: 8 test slides per fold are few" in text
    cautions = read_table(run.folder / "cautions.csv").caution
    assert all(f"- {line}\n" in text for line in cautions) and not cautions.str.contains("3 folds").any()


def test_below_are_intervals_of_each_model_its_position_check_and_its_pooled_auroc(run):
    """Pooled of folds that test few slides; the model's sentence comes before the cautions."""
    text = (run.folder / "summary.md").read_text()
    papers, title, check, notes = text.split("\n\n")[1:]
    assert papers.startswith("| model |")
    shuffled = "with tile positions shuffled within each slide"
    assert title == f"Means over folds; {shuffled}; pooled: of the test slides of all folds together"
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in check.splitlines()]
    assert lines[0] == [
        "data set",
        "model",
        "AUROC [95% interval]",
        "balanced accuracy [95% interval]",
        "std of AUROC over seeds",
        "AUROC, positions shuffled",
        "difference [95% interval]",
        "pooled AUROC [95% interval]",
        "pooled, shuffled",
    ]
    names = [(f"{d} ({encoder})", model) for d, encoder in DATASETS.items() for model in ("abmil", "ro-abmil")]
    assert [tuple(line[:2]) for line in lines[2:]] == names
    metrics = ("auroc", "balanced_accuracy", "pooled_auroc")
    row, balanced, pooled = (summary_row(run, "002", "ro-abmil", metric) for metric in metrics)
    for cell, of in ((lines[-1][2], row), (lines[-1][3], balanced), (lines[-1][7], pooled)):
        assert cell == f"{of['mean']:.2f} [{of['ci_low']:.2f}, {of['ci_high']:.2f}]"
    assert lines[-1][4:6] == [f"{row['seed_std']:.2f}", f"{row['shuffled']:.2f}"]
    bounds = f"[{row['difference_low']:+.2f}, {row['difference_high']:+.2f}]"
    assert lines[-1][6] == f"{row['shuffled_difference']:+.2f} {bounds}"
    assert lines[-1][8] == f"{pooled['shuffled']:.2f}"
    assert lines[2][4:7] == ["–", "–", "–"] and lines[2][8] == "–", "one seed, no position"
    of_002 = [line for line in notes.splitlines() if line.startswith("- 002")]
    assert of_002[1] == f"- 002, ro-abmil: {position_sentence(row)}" and "002, abmil: Shuffling" not in notes


def test_without_position_and_with_enough_slides_there_are_only_means_and_intervals(tmp_path):
    run = SimulatedRun(tmp_path)
    run.add_model("set", run.add_dataset("set", "xy", slides=120), "xy")
    write_tables(run.predictions, run.datasets, tmp_path)
    intervals = "| data set | model | AUROC [95% interval] | balanced accuracy [95% interval] |"
    assert f"Means over folds\n\n{intervals}\n" in (tmp_path / "summary.md").read_text()
    few = SimulatedRun(tmp_path / "few")
    few.add_model("set", few.add_dataset("set", "xy"), "xy")
    write_tables(few.predictions, few.datasets, few.folder)
    assert f"{intervals[:-2]} | pooled AUROC [95% interval] |\n" in (few.folder / "summary.md").read_text()


def test_the_check_tells_a_model_that_uses_position_from_one_that_does_not(tmp_path):
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("set", "xy", slides=300)
    for seed, (model, strength) in enumerate({"uses": 0.0, "ignores": 1.5}.items()):
        run.add_model("set", folds, "xy", model, strength=1.5, seed=seed, shuffled_strength=strength)
    write_tables(run.predictions, run.datasets, tmp_path)
    uses, ignores = (position_sentence(summary_row(run, "set", model)) for model in ("uses", "ignores"))
    assert uses.endswith("]: this model uses position.")
    assert "no measurable difference" in ignores and ignores.endswith("this model does not use position here.")
    assert summary_row(run, "set", "ignores")["difference_low"] < 0


def test_trainings_that_learned_nothing_are_among_the_cautions(tmp_path):
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("set", "xy", slides=120)
    for model, strength in (("abmil", 3.0), ("ro-abmil", 0.0)):
        run.add_model("set", folds, "xy", model, strength=strength)
    write_tables(run.predictions, run.datasets, tmp_path)
    (caution,) = read_table(tmp_path / "cautions.csv").caution
    assert caution.startswith("set, ro-abmil: all 3 trainings overfit from the start")
    assert f"- {caution}\n" in (tmp_path / "summary.md").read_text()


def test_each_class_has_scikit_learns_metrics_against_the_rest_averaged_over_folds(simulate):
    models = [simulate(k, patients=90, classes=3, model=f"m{k}") for k in range(2)]
    table = class_table(models).set_index(["model", "class", "metric"])
    for model, c in product(models, range(3)):
        truth, decided, scores = model.targets == c, model.decisions == c, model.predictions[:, c]
        folds = [class_scores(truth[f], decided[f], scores[f]) for f in (model.folds == fold for fold in range(5))]
        for metric, mean in pd.DataFrame(folds).mean().items():
            row = table.loc[(model.model, f"class_{c}", metric)]
            assert row["mean"] == pytest.approx(mean), (c, metric)
            assert row.ci_low < row["mean"] < row.ci_high and row.slides == truth.sum()


def test_classes_count_slides_once_and_average_seeds(simulate):
    model = simulate(3, patients=90, seeds=2)
    both = class_table([model]).set_index(["class", "metric"])
    halves = [class_table([model.select(model.seeds == s)]).set_index(["class", "metric"]) for s in (1, 2)]
    assert both.slides.tolist() == halves[0].slides.tolist()
    assert both["mean"].to_numpy() == pytest.approx((halves[0]["mean"] + halves[1]["mean"]).to_numpy() / 2)
