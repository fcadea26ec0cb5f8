"""Results on external data sets, beside those of the data set that the models were trained on."""

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind
from sklearn.metrics import roc_auc_score

from roformermil.bags.folds import FoldRow, rows_fingerprint, write_folds
from roformermil.bags.leakage import write_findings
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage, Training
from roformermil.config.base import to_json
from roformermil.errors import ModelError
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.external import difference, drop_sentence, drop_sentences
from roformermil.evaluation.fold_results import (
    EXTERNAL_FILE,
    SHUFFLED_FILE,
    FoldResult,
    read_metadata,
    training_identity,
)
from roformermil.evaluation.predictions import join_folds, out_of_fold, read_table
from roformermil.evaluation.tables import write_tables
from roformermil.runtime.files import file_sha256
from roformermil.tasks.classification import UNLABELLED
from tests.factories import NO_LEAK, SimulatedRun, write_predictions_csv, write_training_files

CLASSES, MODELS, FOLDS = ["x", "y"], ("abmil", "ro-abmil"), 3


def add_external(run: SimulatedRun, name: str, labels: list[str], strength: float) -> None:
    """Write an external data set that all models of `in` predicted, as the workflow does: a slide per label, two per patient."""
    rng = np.random.default_rng(len(labels))
    slides = [(f"e{k}", f"q{k // 2}", label) for k, label in enumerate(labels)]
    rows = [FoldRow(fold, *slide, "test") for fold in range(FOLDS) for slide in slides]
    data = run.folder / name
    write_folds(data / "folds.csv", rows)
    write_slides_csv(data / "slides.csv", [SlideRecord(slide[0], data / "e.svs") for slide in slides])
    write_findings([NO_LEAK], Leakage(), Folds(), name, data / "leakage.csv")
    run.datasets.append(data)
    for model in MODELS:
        shared = rng.normal(size=len(slides))
        for fold in range(FOLDS):
            truth = np.array([{"x": -1, "y": 1, "": 0}[label] for *_, label in slides])
            y = 1 / (1 + np.exp(-strength * truth - shared - 0.5 * rng.normal(size=len(slides))))
            table = pd.DataFrame(slides, columns=["slide_id", "patient_id", "label"])
            table = table.assign(part="test", probability_x=1 - y, probability_y=y)
            path = data / f"net/{model}/fold_{fold}/predictions.csv"
            write_predictions_csv(path, table)
            write_predictions_csv(path.with_name(SHUFFLED_FILE), table.drop(columns="part").assign(repeat=0)[:0])
            describe(run, path)
            run.predictions.append(path)


def describe(run: SimulatedRun, path) -> None:
    """Write external.json beside predictions of the slides of a folder."""
    trained = read_metadata(run.folder / "in" / path.relative_to(path.parents[3]).with_name("model.safetensors"))
    fold = int(trained["fold"])
    table = pd.read_csv(path, keep_default_na=False)
    own = {
        "external": path.parents[3].name,
        "training_identity": training_identity(trained),
        "rows": rows_fingerprint(
            FoldRow(fold, *row) for row in table[["slide_id", "patient_id", "label", "part"]].itertuples(index=False)
        ),
        "predictions": file_sha256(path),
        "shuffled": file_sha256(path.with_name(SHUFFLED_FILE)),
        "features": "{}",
    }
    path.with_name(EXTERNAL_FILE).write_text(json.dumps(trained | own))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> SimulatedRun:
    """A data set with two models, an external one with a slide without a label, and another without any label; and their tables."""
    run = SimulatedRun(tmp_path_factory.mktemp("external"))
    folds = run.add_dataset("in", CLASSES, slides=48)
    for seed, model in enumerate(MODELS):
        run.add_model("in", folds, CLASSES, model, strength=1.5, seed=seed)
    add_external(run, "out", ["x", "x", "y", "y"] * 10 + [""], strength=0.5)
    add_external(run, "blind", [""] * 6, strength=0.5)
    write_tables(run.predictions, run.datasets, run.folder)
    return run


def summary_md(run: SimulatedRun) -> str:
    return (run.folder / "summary.md").read_text()


def test_the_summary_tells_drops_and_that_slides_look_unlike_those_of_the_training(run, tmp_path):
    text = summary_md(run)
    assert "- out, abmil: AUROC of single models is" in text and "unlike" not in text
    unlike = pd.DataFrame({"slide_id": [f"e{k}" for k in range(41)], "patient_id": [f"q{k // 2}" for k in range(41)]})
    files = [run.folder / name / "net/shift.csv" for name in ("out", "blind")]
    for file in files:
        unlike.assign(distance=9.0, farther=0.0, compared_with=48).to_csv(file, index=False)
    try:
        write_tables(run.predictions, run.datasets, tmp_path)
    finally:
        for file in files:
            file.unlink()
    cautions = read_table(tmp_path / "cautions.csv")
    for name in ("out", "blind"):  # the second has no labels
        caution = f"{name}: these slides look unlike those of in: 41 of 41 lie farther"
        assert f"- {caution}" in (tmp_path / "summary.md").read_text()
        assert cautions[cautions.dataset == name].caution.str.startswith(caution).sum() == 1


def members(run: SimulatedRun, model="abmil") -> list[pd.DataFrame]:
    """The predictions of labelled external slides by the model of each fold."""
    tables = [pd.read_csv(run.folder / f"out/net/{model}/fold_{fold}/predictions.csv") for fold in range(FOLDS)]
    return [table[table.label.notna()] for table in tables]


def test_the_tables_have_the_ensemble_its_members_and_the_drop(run):
    table = read_table(run.folder / "external.csv")
    assert set(table.dataset) == {"out"} and set(table.trained_on) == {"in"}
    row, of_patients = table[(table.model == "abmil") & (table.metric == "auroc")].to_dict("records")
    tables = members(run)
    of_members = [roc_auc_score(one.label == "y", one.probability_y) for one in tables]
    ensemble = roc_auc_score(tables[0].label == "y", np.mean([one.probability_y for one in tables], axis=0))
    summary = read_table(run.folder / "summary.csv").set_index(["dataset", "model", "metric"])
    assert row["external"] == pytest.approx(ensemble) == summary.loc[("out", "abmil", "auroc"), "mean"]
    assert row["members"] == pytest.approx(np.mean(of_members)) != pytest.approx(ensemble)
    assert row["internal"] == pytest.approx(summary.loc[("in", "abmil", "auroc"), "mean"])
    assert row["drop"] == pytest.approx(row["internal"] - row["members"])
    assert row["drop_low"] < row["drop"] < row["drop_high"] and (row["slides"], row["patients"]) == (40, 20)
    assert (row["level"], of_patients["level"], of_patients["slides"]) == ("slide", "patient", 20)
    means = [one.groupby(["patient_id", "label"]).probability_y.mean().reset_index() for one in tables]
    expected = np.mean([roc_auc_score(one.label == "y", one.probability_y) for one in means])
    by_patient = read_table(run.folder / "patients.csv").set_index(["dataset", "model", "metric"])
    assert of_patients["members"] == pytest.approx(expected)
    assert of_patients["external"] == pytest.approx(by_patient.loc[("out", "abmil", "auroc"), "mean"])
    assert of_patients["internal"] == row["internal"], "where a patient has one slide"
    assert of_patients["drop"] == pytest.approx(row["internal"] - expected) and "abmil, by patient" in summary_md(run)
    metrics = read_table(run.folder / "metrics.csv")
    rows = metrics[(metrics.dataset == "out") & (metrics.model == "abmil") & (metrics.metric == "auroc")]
    assert rows.value.tolist() == pytest.approx(of_members)  # a row per member
    text = (run.folder / "summary.md").read_text()
    assert "External validation" in text and "out, trained on in" in text
    notes = "- blind: external, predicted by the ensemble trained on in; 6 of 6 slides; no labels"
    assert [line for line in text.splitlines() if "blind" in line] == [notes]


def test_external_slides_are_decided_as_a_package_decides(run):
    """By the ensemble's probability, at the median of its members' operating points, from validation slides of the training data."""
    points = read_table(run.folder / "operating_points.csv")
    inside, outside = (points[(points.dataset == name) & (points.model == "abmil")] for name in ("in", "out"))
    assert len(outside) == 1 and outside.threshold.iloc[0] == pytest.approx(inside.threshold.median())
    tables = members(run)
    called = np.mean([one.probability_y for one in tables], axis=0) >= inside.threshold.median()
    decisions = read_table(run.folder / "decisions.csv")
    decided = decisions[(decisions.dataset == "out") & (decisions.model == "abmil")].set_index("metric").value
    truth = (tables[0].label == "y").to_numpy()
    assert decided["sensitivity"] == pytest.approx(called[truth].mean())
    assert decided["specificity"] == pytest.approx((~called)[~truth].mean())
    scores = read_table(run.folder / "probabilities.csv")
    assert set(scores.dataset) == {"in", "out"} and np.isfinite(scores.scaled).all()
    assert set(read_table(run.folder / "abstention.csv").dataset) == {"in", "out"}


def test_the_ensemble_on_external_slides_is_of_the_first_repeat(run, tmp_path):
    repeated = SimulatedRun(tmp_path)
    folds = repeated.add_dataset("in", CLASSES, slides=24)
    again = pd.concat([folds, folds.assign(fold=folds.fold + FOLDS)])
    repeated.add_model("in", again, CLASSES, "abmil")
    rows = [FoldRow(fold, f"e{k}", f"q{k}", CLASSES[k % 2], "test") for fold in range(2 * FOLDS) for k in range(12)]
    rng = np.random.default_rng(0)
    for fold in range(2 * FOLDS):
        table = pd.DataFrame([row for row in rows if row.fold == fold]).drop(columns="fold")
        table = table.assign(probability_x=(x := rng.random(12)), probability_y=1 - x)
        path = tmp_path / f"out/net/abmil/fold_{fold}/predictions.csv"
        write_predictions_csv(path, table)
        write_predictions_csv(path.with_name(SHUFFLED_FILE), table.drop(columns="part").assign(repeat=0)[:0])
        describe(repeated, path)
        repeated.predictions.append(path)
    results = [FoldResult.at(path) for path in repeated.predictions]
    (one,) = (model for model in join_folds(results) if model.trained_on)
    (ensemble,) = (model for model in out_of_fold(results) if model.trained_on)
    assert one.folds_per_repeat == FOLDS and ensemble.folds_per_repeat is None
    expected = [one.predictions[(one.slides == name) & (one.folds < FOLDS)].mean(axis=0) for name in ensemble.slides]
    assert ensemble.predictions == pytest.approx(np.array(expected))


def test_every_slide_counts_once_in_confusion_and_calibration(run):
    for name in ("confusion", "calibration"):
        table = read_table(run.folder / f"{name}.csv")
        table = table[table.probabilities == "predicted"] if name == "calibration" else table
        assert table[(table.dataset == "out") & (table.model == "abmil")].slides.sum() == 40


def test_models_are_compared_over_external_patients(run):
    table = read_table(run.folder / "comparisons.csv").query("dataset == 'out' and metric == 'auroc'").set_index("test")
    assert set(table.index) == {"jackknife", "delong"}  # no t-test over folds, which all test the same slides
    assert table.loc["jackknife", "difference"] == pytest.approx(table.loc["delong", "difference"])
    widths = table.ci_high - table.ci_low
    assert widths.jackknife == pytest.approx(widths.delong, rel=0.25)  # of which the second is asymptotic


def test_slides_without_labels_are_predicted_and_not_evaluated(run):
    results = [FoldResult.at(path) for path in run.predictions]
    assert {one.dataset for one in out_of_fold(results)} == {"in", "out"}
    everything = {one.key: one for one in out_of_fold(results, labelled=False)}
    assert (everything["blind", "net", "abmil"].targets == UNLABELLED).all()
    joined = {one.key: one for one in join_folds(results)}["out", "net", "abmil"]
    assert len(joined.slides) == FOLDS * 41 and len(everything["out", "net", "abmil"].slides) == 41


def test_external_slides_without_labels_and_weighted_classes_go_together(tmp_path):
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("in", CLASSES, slides=48)
    for model in MODELS:
        run.add_model("in", folds, CLASSES, model)
    for path in run.predictions:
        write_training_files(path, training=to_json(Training(class_weights="balanced")))
    add_external(run, "blind", [""] * 6, strength=0.5)
    write_tables(run.predictions, run.datasets, run.folder)
    lines = (run.folder / "summary.md").read_text()
    assert "in: training weighted the classes" in lines and lines.count("blind") == 1, "in a note alone"


@pytest.mark.parametrize(("labels", "has_drop"), [(["x"] * 20 + ["y"], True), (["x"] * 20, False)])
def test_few_patients_of_a_class_prove_no_drop(tmp_path, labels, has_drop):
    """One patient of a class: any drop is possible. None: nothing compares with means over both classes."""
    run = SimulatedRun(tmp_path)
    folds = run.add_dataset("in", CLASSES, slides=48)
    for model in MODELS:
        run.add_model("in", folds, CLASSES, model, strength=9.0)
    add_external(run, "out", labels, strength=-9.0)
    write_tables(run.predictions, run.datasets, run.folder)
    table = read_table(run.folder / "external.csv")
    rows = table[(table.model == "abmil") & (table.level == "slide")].set_index("metric")
    metric = "balanced_accuracy" if has_drop else "accuracy"
    assert rows.members[metric] < 0.2 < 0.9 < rows.internal[metric]
    bounds = rows.loc[metric, ["drop_low", "drop_high"]].tolist()
    assert bounds == [-1, 1] if has_drop else np.isnan(bounds).all()
    assert "it is lower on external slides" not in (run.folder / "summary.md").read_text()


def test_predictions_of_another_model_than_that_of_now_are_refused(run):
    path = run.folder / "out/net/abmil/fold_0" / EXTERNAL_FILE
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"training_identity": "of another training"}))
    with pytest.raises(ModelError, match="predicted by another model than that of in now"):
        read_results(run.predictions, run.datasets)
    path.write_text(before)
    read_results(run.predictions, run.datasets)


def test_a_difference_between_independent_patients_is_welchs():
    """Means are a statistic whose interval is known: the jackknife's error of a mean is s / sqrt(n)."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0.6, 0.1, 30), rng.normal(0.5, 0.2, 12)
    left_out = [np.append(x.mean(), [np.delete(x, k).mean() for k in range(len(x))]) for x in samples]
    expected = ttest_ind(*samples, equal_var=False).confidence_interval()
    found = difference(left_out[0], 29, left_out[1], 11)
    assert found == pytest.approx((samples[0].mean() - samples[1].mean(), expected.low, expected.high))


def test_a_drop_is_told_in_words():
    row = {"metric": "auroc", "dataset": "out", "trained_on": "in", "internal": 0.8, "members": 0.7, "drop": 0.1}
    row |= {"model": "m", "encoder": "net"}
    wide = drop_sentence(row | {"drop_low": -0.05, "drop_high": 0.25})
    assert wide.endswith("+0.10 [-0.05, +0.25], but these patients are too few to exclude one of 0.1.")
    other = row | {"metric": "balanced_accuracy", "drop_low": 0.02, "drop_high": 0.18}
    undecided, of_patients = row | {"drop_low": -0.05, "drop_high": 0.05}, other | {"metric": "average_precision"}
    rows = [undecided, other, other | {"metric": "f1"}, of_patients | {"drop_low": -0.01}, of_patients]
    assert [told["metric"] for told, _ in drop_sentences(pd.DataFrame(rows))] == ["auroc", "balanced_accuracy"], (
        "F1 is not reported, and of average precision the row by slide counts, which comes first"
    )
    intervals = {
        (0.02, 0.18): "it is lower on external slides by 0.10 [0.02, 0.18]",
        (-0.05, 0.25): "no measurable drop",
        (-0.2, -0.1): "it is higher on external slides by",
    }
    for (low, high), words in intervals.items():
        assert words in drop_sentence(row | {"drop_low": low, "drop_high": high})
    precision = drop_sentence(row | {"metric": "average_precision", "drop_low": 0.02, "drop_high": 0.18})
    assert precision.endswith("by 0.10 [0.02, 0.18]; it also depends on how frequent the classes are.")
    assert drop_sentence(row | {"drop": np.nan}) == ""
    assert (
        len({drop_sentence(row | {"drop_low": a, "drop_high": b}) for a, b in combinations((-0.1, 0.1, 0.3), 2)}) == 3
    )
