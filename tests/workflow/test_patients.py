"""Patients of several slides, repeats, covariates, weighted classes, decisions and an external data set together: one run."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from roformermil.deployment.predict import predict
from tests.features.h5 import write_h5
from tests.workflow.running import planned_jobs, run_workflow, snakemake

pytestmark = pytest.mark.slow
CLASSES, TILES = ["benign", "malignant"], 9


def write_cohort(folder, name, patients, unlabelled=0, seed=0):
    """Feature files of two slides per patient, and their sheet; features and age are higher in malignant ones."""
    rng, rows = np.random.default_rng(seed), []
    (folder / name).mkdir()
    coords = np.stack([np.arange(TILES) % 3, np.arange(TILES) // 3], axis=1) * 256
    for k in range(2 * patients):
        patient = k // 2
        truth = patient % 2
        features = rng.normal(size=(TILES, 8)).astype(np.float32) + np.eye(8, dtype=np.float32)[0] * 1.5 * truth
        write_h5(folder / name / f"{name}{k}.h5", features, coords, mpp=0.5, patch_size_level0=256)
        label = CLASSES[truth] if patient < patients - unlabelled else ""
        age = f"{60 + 5 * truth + patient % 7}"
        rows.append((f"{name}{k}", f"{name}_p{patient}", label, f"{name}{k}.h5", age if k % 5 else ""))
    sheet = folder / f"{name}.csv"
    pd.DataFrame(rows, columns=["slide_id", "patient_id", "label", "path", "age"]).to_csv(sheet, index=False)
    return {"slides": str(sheet), "root": str(folder / name)}


def test_patients_are_trained_tested_and_validated_elsewhere(tmp_path):
    datasets = {
        "ours": write_cohort(tmp_path, "ours", 24) | {"classes": CLASSES},
        "theirs": write_cohort(tmp_path, "theirs", 14, unlabelled=2, seed=1) | {"validates": "ours"},
    }
    size = {"hidden_dim": 16, "attention_dim": 16, "num_heads": 2}
    config = {
        "datasets": datasets,
        "encoder": {"name": "imported", "id": "net"},
        "unit": "patient",
        "covariates": ["age"],
        "folds": {"count": 3, "repeats": 2},
        "models": ["mean-linear", {"name": "ro-abmil", "covariates": True, **size}],
        "training": {"epochs": 4, "learning_rate": 3.0e-3, "epoch_steps": 15, "class_weights": "balanced"},
        "decisions": {"sensitivity": 0.9, "prevalence": {"malignant": 0.2}, "temperature": True},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path)
    results = tmp_path / "results"
    summary = pd.read_csv(results / "summary.csv")
    assert set(summary.level) == {"patient"} and set(summary.dataset) == {"ours", "theirs"}
    means = summary.set_index(["dataset", "model", "metric"])["mean"]
    assert (means.xs("auroc", level="metric") > 0.75).all()
    model = results / "ours/net/ro-abmil"
    members = [pd.read_csv(results / f"theirs/net/ro-abmil/fold_{k}/predictions.csv") for k in range(6)]
    labelled = members[0].label.notna()
    first_repeat = np.mean([one.probability_malignant[labelled] for one in members[:3]], axis=0)
    expected = roc_auc_score(members[0].label[labelled] == "malignant", first_repeat)
    assert means["theirs", "ro-abmil", "auroc"] == pytest.approx(expected) and labelled.sum() == 12
    external = pd.read_csv(results / "external.csv")
    assert set(external.level) == {"patient"} and set(external.patients) == {12} and external["drop"].notna().all()
    decisions = pd.read_csv(results / "decisions.csv")
    assert set(decisions[decisions.metric == "ppv_at_prevalence"].dataset) == {"ours", "theirs"}
    assert set(pd.read_csv(results / "abstention.csv").dataset) == {"ours", "theirs"}
    report = (results / "report.html").read_text()
    assert "28 (24 labelled)" in report and "as the models of the first repeat predicted them" in report
    card = json.loads((model / "model/model.json").read_text())
    assert (card["unit"], len(card["members"]), card["repeats"]) == ("patient", 3, 2)
    stores = pd.read_csv(tmp_path / "theirs.csv").assign(
        path=lambda t: f"{results}/theirs/features/net/" + t.slide_id + ".zarr"
    )
    stores.to_csv(tmp_path / "new.csv", index=False)
    rows = {
        row["patient_id"]: row
        for row in predict([tmp_path / "new.csv"], model / "model", tmp_path / "out", progress=False)
    }
    by_hand = [rows[name]["probability_malignant"] for name in members[0].patient_id]
    ensemble = np.mean([one.probability_malignant for one in members[:3]], axis=0)
    assert np.corrcoef(by_hand, ensemble)[0, 1] > 0.95, "the package's are at its members' temperatures"
    plan = planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "-n"))
    assert plan == {}, "nothing is done twice"
