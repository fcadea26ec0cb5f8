"""Survival and regression from slide sheet to report, on features that predict them, with a covariate."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.deployment.evaluation import evaluate_predictions
from roformermil.deployment.model_card import read_card
from roformermil.deployment.predict import predict
from roformermil.tasks import make_task
from roformermil.viewer.answers import describe_view
from roformermil.viewer.predicted import predicted_view
from tests.features.h5 import write_h5
from tests.workflow.running import planned_jobs, run_workflow, snakemake

pytestmark = pytest.mark.slow
PATIENTS = 60
LEARNED = {"c_index": 0.65, "r2": 0.4}  # chance is 0.5 and 0


@pytest.fixture(params=["survival", "regression"])
def run(request, tmp_path):
    """A workflow of three folds, whose slides have a first feature that is as high as the patient's risk, and a covariate without
    meaning."""
    rng, rows, tiles = np.random.default_rng(0), [], 12
    (tmp_path / "h5").mkdir()
    coords = np.stack([np.arange(tiles) % 4, np.arange(tiles) // 4], axis=1) * 256
    for k in range(PATIENTS):
        risk = rng.normal()
        features = rng.normal(size=(tiles, 8)).astype(np.float32) + np.eye(8, dtype=np.float32)[0] * 2 * risk
        write_h5(tmp_path / f"h5/s{k}.h5", features, coords, mpp=0.5, patch_size_level0=256)
        event, censoring = rng.exponential(20 * np.exp(-3 * risk)), rng.exponential(200)
        row = {"slide_id": f"s{k}", "patient_id": f"p{k}", "path": f"s{k}.h5", "age": f"{rng.normal(60, 9):.0f}"}
        of_task = {
            "survival": {"time": f"{min(event, censoring):.2f}", "event": int(event <= censoring)},
            "regression": {"label": f"{20 + 5 * risk:.2f}"},
        }
        rows.append(row | of_task[request.param])
    pd.DataFrame(rows).to_csv(tmp_path / "slides.csv", index=False)
    config = {
        "task": request.param,
        "datasets": {"made": {"slides": str(tmp_path / "slides.csv"), "root": str(tmp_path / "h5")}},
        "encoder": {"name": "imported", "id": "theirs"},
        "folds": {"count": 3},
        "covariates": ["age"],
        "models": [
            "mean-linear",
            "covariates",
            {"name": "ro-abmil", "covariates": True, "hidden_dim": 16, "attention_dim": 16, "num_heads": 2},
        ],
        "training": {"epochs": 6, "learning_rate": 3.0e-3, "epoch_steps": 20},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path)
    return request.param, tmp_path


def test_a_task_is_learned_reported_packaged_and_predicted(run):
    name, folder = run
    results = folder / "results"
    main = {"survival": "c_index", "regression": "r2"}[name]
    summary = pd.read_csv(results / "summary.csv").set_index(["model", "metric"])["mean"]
    assert summary[("mean-linear", main)] > LEARNED[main] and summary[("ro-abmil", main)] > LEARNED[main]
    assert (results / "report.html").exists()
    assert json.loads((results / "made/folds.json").read_text())["task"] == name
    trained = results / "made/theirs/ro-abmil"
    predicted = pd.read_csv(trained / "fold_0/predictions.csv", dtype={"label": str})
    columns = make_task(name).columns
    assert list(predicted.columns[-len(columns) :]) == columns
    sheet = pd.read_csv(folder / "slides.csv", dtype=str).head(12)
    stores = f"{results}/made/features/theirs/" + sheet.slide_id + ".zarr"
    sheet.assign(path=stores).to_csv(folder / "new.csv", index=False)
    rows = predict([folder / "new.csv"], trained / "model", folder / "out", shuffle_positions=True, progress=False)
    assert all(np.isfinite(row[column]) for row in rows for column in (*columns, f"shuffled_{columns[0]}"))
    assert {row["label"] for row in rows} <= set(predicted.label)
    card = read_card(trained / "model")
    if name == "survival":
        assert {row["group"] for row in rows} == {"low", "high"}
        assert all((row["group"] == "high") == (row["risk"] > card.cut) for row in rows)
    evaluation = evaluate_predictions(folder / "out", card)
    assert evaluation.metrics.metric.tolist() == list(make_task(name).metrics) and set(evaluation.metrics.slides) == {
        12
    }
    assert pd.read_csv(folder / "out/classes.csv").empty
    assert "classifier" not in (trained / "model/README.md").read_text()
    gains = pd.read_csv(results / "covariate_gains.csv")
    assert set(gains.model) == {"ro-abmil"} and "age" in (trained / "model/README.md").read_text()
    jobs = planned_jobs(snakemake(folder, folder / "config.yaml", "-n"))
    assert jobs == {}, "nothing is done twice"
    view = describe_view(predicted_view(folder / "out", None))
    assert view["classes"] == columns[:1] and columns[0] in view["slides"][0]["predicted"]
