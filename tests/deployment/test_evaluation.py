"""Metrics of labelled slides that `predict` was given, and slides that look unlike those of the training."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import CensoredData, logrank
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from roformermil.cli import app
from roformermil.deployment.evaluation import describe_evaluation, evaluate_predictions
from roformermil.deployment.model_card import read_card
from roformermil.deployment.predict import load_packaged_model
from roformermil.deployment.prediction_table import shift_fields
from roformermil.deployment.prediction_text import describe_predictions
from roformermil.deployment.slide_inputs import read_labels
from roformermil.evaluation.shift import fit_reference
from roformermil.tasks import make_task
from tests.deployment.lab import CLASSES, STORES


@pytest.fixture
def sheet(lab, tmp_path):
    """A slide sheet of six stores, one with a label that is no class of the model and one without a label."""
    labels = ["inflamed", "excluded", "inflamed", "excluded", "other", ""]
    rows = [f"s{k},p{k},{label},s{k}.zarr" for k, label in enumerate(labels)]
    shutil.copytree(lab / STORES, tmp_path / "stores")
    (tmp_path / "stores/sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows]) + "\n")
    return tmp_path / "stores/sheet.csv"


def test_predict_computes_metrics_where_the_sheet_has_labels(lab, sheet, tmp_path):
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["predict", str(sheet), "--model", str(lab / "model"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out / "predictions.csv").query("label in @CLASSES")
    expected = roc_auc_score(table.label == "excluded", table.probability_excluded)
    metrics = pd.read_csv(out / "metrics.csv").set_index("metric")
    assert metrics.loc["auroc", "mean"] == pytest.approx(expected) and set(metrics.slides) == {4}
    assert f"AUROC: {expected:.2f}" in result.output and "in cross-validation on set" in result.output
    assert {path.name for path in (out / "plots").iterdir()} == {"curves.png", "calibration.png", "confusion.png"}
    assert set(pd.read_csv(out / "classes.csv")["class"]) == set(CLASSES) and set(metrics.level) == {"slide"}
    decisions = pd.read_csv(out / "decisions.csv").set_index("metric")
    called = table.probability_excluded >= decisions.threshold.iloc[0]
    assert decisions.loc["sensitivity", "value"] == called[table.label == "excluded"].mean()
    assert decisions.loc["specificity", "value"] == (~called[table.label == "inflamed"]).mean()
    assert "the packaged operating point: sensitivity" in result.output


def test_slides_of_a_patient_are_also_evaluated_together(lab, sheet, tmp_path):
    text = sheet.read_text()
    sheet.write_text(text.replace("s2,p2", "s2,p0").replace("s3,p3", "s3,p1"))
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["predict", str(sheet), "--model", str(lab / "model"), "--out", str(out)])
    metrics = pd.read_csv(out / "metrics.csv").query("level == 'patient'").set_index("metric")
    table = pd.read_csv(out / "predictions.csv").query("label in @CLASSES")
    means = table.groupby(["patient_id", "label"]).probability_excluded.mean().reset_index()
    expected = roc_auc_score(means.label == "excluded", means.probability_excluded)
    assert metrics.loc["auroc", "mean"] == pytest.approx(expected) and set(metrics.patients) == {2}
    assert "By patient, with the mean of their slides:" in result.output


def test_predictive_values_are_also_given_at_the_packaged_prevalence(lab, sheet, change_card, tmp_path):
    decisions = json.loads((lab / "model/model.json").read_text())["decisions"]
    decisions["classes"]["excluded"]["prevalence"] = 0.1
    model = change_card(decisions=decisions)
    result = CliRunner().invoke(app, ["predict", str(sheet), "--model", str(model), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    rows = pd.read_csv(tmp_path / "out/decisions.csv").set_index("metric")
    se, sp = rows.value.sensitivity, rows.value.specificity
    positive = se * 0.1 + (1 - sp) * 0.9
    assert rows.value.ppv_at_prevalence == pytest.approx(se * 0.1 / positive if positive else np.nan, nan_ok=True)
    assert rows.prevalence.npv_at_prevalence == 0.1 and "NPV at a prevalence of 0.1 " in result.output


def test_patients_are_divided_at_the_packaged_risk(lab, tmp_path):
    """Kaplan-Meier curves and log-rank test as of scipy; a patient's risk is the mean of their slides'."""
    rng, n = np.random.default_rng(0), 40
    risk = rng.uniform(size=n)
    times, events = rng.exponential(20 * np.exp(-2 * risk)).round(2), rng.uniform(size=n) < 0.7
    table = pd.DataFrame({"slide_id": [f"s{k}" for k in range(n)], "patient_id": [f"p{k // 2}" for k in range(n)]})
    times, events = np.repeat(times[::2], 2), np.repeat(events[::2], 2)
    table = table.assign(label=[f"{t}{'' if e else '+'}" for t, e in zip(times, events, strict=True)], status="ok")
    table.assign(risk=risk, **{f"survival_{k}": 1 - risk for k in range(1, 5)}).to_csv(tmp_path / "predictions.csv")
    card = read_card(lab / "model").model_copy(update={"task": "survival", "classes": [], "cut": 0.5, "results": []})
    card.decisions.classes.clear()
    evaluation = evaluate_predictions(tmp_path, card)
    high = risk.reshape(-1, 2).mean(axis=1) > 0.5
    first, second = (
        CensoredData(uncensored=times[::2][rows & events[::2]], right=times[::2][rows & ~events[::2]])
        for rows in (high, ~high)
    )
    groups = pd.read_csv(tmp_path / "survival_groups.csv").set_index("group")
    assert groups.p.high == pytest.approx(logrank(first, second).pvalue)
    assert groups.patients.to_dict() == {"low": (~high).sum(), "high": high.sum()}
    assert (tmp_path / "plots/survival.png").exists()
    assert f"Patients divided at the packaged risk of 0.50: {(~high).sum()} of low risk (" in describe_evaluation(
        evaluation, card
    )


def test_without_labels_there_are_no_metrics_and_none_of_earlier_ones(lab, predicted, tmp_path):
    shutil.copy(lab / "out/predictions.csv", tmp_path)
    (tmp_path / "metrics.csv").write_text("of another table")
    assert evaluate_predictions(tmp_path, read_card(lab / "model")) is None
    assert not (tmp_path / "metrics.csv").exists()


def test_labels_that_are_no_class_are_named(sheet, caplog):
    labels = read_labels([sheet], CLASSES)
    assert labels["s4"] == {"label": ""} and labels["s1"]["label"] == "excluded"
    assert "labels that are no class of the model (inflamed, excluded) are not evaluated: other" in caplog.text


def test_a_shifted_slide_has_a_warning_and_many_have_a_sentence(lab, predicted):
    rng = np.random.default_rng(0)
    reference = fit_reference(rng.normal(size=(40, 8)), [str(k) for k in range(40)])
    near, far = (shift_fields({"warnings": "odd"}, rng.normal(size=(50, 8)) / 9 + shift, reference) for shift in (0, 9))
    assert near["warnings"] == "odd" and near["farther"] > 0.05
    assert far["warnings"].startswith("odd; looks unlike the training slides") and far["farther"] < 0.05
    row = dict.fromkeys(make_task("classification", CLASSES).columns, 0.5) | {
        "message": "",
        "status": "ok",
        "predicted": "excluded",
    }
    row |= {"disagreement": 0.0, "tiles": 9, "heatmap": None, "geojson": None, "path": "x", "warnings": ""}
    rows = [row | far | {"slide_id": f"s{k}"} for k in range(6)]
    assert "These slides look unlike the training slides: 6 of 6" in describe_predictions(rows, lab, 40)


def test_a_package_of_few_slides_cannot_tell(lab, predicted):
    assert not len(load_packaged_model(lab / "model").reference.distances)
    assert all(row["farther"] is None for row in predicted) and predicted[0]["distance"] > 0
