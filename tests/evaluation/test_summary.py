import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from roformermil.bags.leakage import Finding, write_findings
from roformermil.cohort.slide_table import SlideRecord, write_slide_table
from roformermil.config import Folds, Leakage
from roformermil.evaluation.tables import write_tables


@pytest.fixture
def results(tmp_path):
    """Two data sets, two models, three folds of random predictions; one slide of `one` is missing."""
    rng = np.random.default_rng(0)
    paths, truth = [], {}
    for dataset, encoder in (("one", "resnet50-random"), ("two", "net")):
        rows = [SlideRecord("a", "a.svs"), SlideRecord("b", "b.svs", status="ok" if dataset == "two" else "unreadable")]
        write_slide_table(tmp_path / dataset / "slides.csv", rows)
        findings = [Finding("patients", "leak" if dataset == "two" else "ok", 3, "3 patients are in two parts")]
        write_findings(findings, Leakage(), Folds(group_by_patient=False), dataset, tmp_path / dataset / "leakage.csv")
        for model in ("abmil", "ro-abmil"):
            for fold in range(3):
                labels = np.array(["x", "y"] * 10)
                p = rng.random(20)
                table = pd.DataFrame(
                    {"slide_id": [f"{fold}_{k}" for k in range(20)], "patient_id": [f"p{fold}_{k}" for k in range(20)], "label": labels,
                     "part": ["test"] * 10 + ["train"] * 8 + ["validation"] * 2, "probability_x": 1 - p, "probability_y": p}
                )  # fmt: skip
                path = tmp_path / dataset / encoder / model / f"fold_{fold}/predictions.csv"
                path.parent.mkdir(parents=True)
                table.to_csv(path, index=False)
                paths.append(path)
                truth[dataset, model, fold] = roc_auc_score(labels[:10] == "y", p[:10])
    return tmp_path, paths, truth


def test_tables_are_computed_from_test_predictions(results):
    folder, paths, truth = results
    write_tables(paths, [folder / "one", folder / "two"], folder)
    metrics, summary = pd.read_csv(folder / "metrics.csv"), pd.read_csv(folder / "summary.csv")
    assert list(metrics) == ["dataset", "encoder", "model", "fold", "metric", "value"]
    assert list(summary) == ["dataset", "encoder", "model", "metric", "mean", "std", "ci_low", "ci_high", "folds"]
    assert len(metrics) == 2 * 2 * 3 * 5
    for (dataset, model, fold), value in truth.items():
        found = metrics[(metrics.dataset == dataset) & (metrics.model == model) & (metrics.fold == fold)]
        assert found[found.metric == "auroc"].value.item() == pytest.approx(value)
    row = summary.query("dataset == 'two' and model == 'abmil' and metric == 'auroc'").iloc[0]
    values = [truth["two", "abmil", k] for k in range(3)]
    assert row["mean"] == pytest.approx(np.mean(values))
    assert row["std"] == pytest.approx(np.std(values, ddof=1))
    assert row.ci_low < row["mean"] < row.ci_high


def test_the_papers_table_says_what_is_missing_and_what_is_random(results):
    folder, paths, truth = results
    write_tables(paths, [folder / "one", folder / "two"], folder)
    text = (folder / "summary.md").read_text()
    assert "| | one (resnet50-random) | two (net) |" in text
    mean, std = (f([truth["one", "ro-abmil", k] for k in range(3)]) for f in (np.mean, lambda v: np.std(v, ddof=1)))
    assert f"| ro-abmil | {mean:.2f} ± {std:.2f} / " in text
    assert "- one: 3 folds; 1 of 2 slides, 1 missing (1 unreadable)" in text
    assert "- two: 3 folds; 2 of 2 slides\n" in text
    assert "- resnet50-random: random encoder weights" in text
    assert "- two: the same patients train and test: figures flatter (3 patients" in text
    assert "- one: 1 of 2 slides are lost" in text and "two: the same" in text and "one: the same" not in text
    assert "- one: 10 test slides a fold are few" in text
