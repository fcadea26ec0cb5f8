"""`config/tnbc.yaml` and `config/til.yaml`, on a few small made bags, from the slide sheet to the report's files."""

import numpy as np
import pandas as pd
import pytest
import yaml

from tests import ROOT
from tests.features.h5 import write_h5
from tests.workflow.running import run_workflow

PATIENTS = 6  # of each class


def write_bags(folder, name, dataset, width):
    """Two bags for each of 12 patients at the paths of the configuration."""
    rng, rows = np.random.default_rng(0), []
    root, sheet = folder / dataset["root"], folder / dataset["slides"]
    root.mkdir(parents=True, exist_ok=True)
    for k in range(4 * PATIENTS):
        slide_id = f"{name}_{k}"
        coords = np.unique(rng.integers(0, 9, (60, 2)), axis=0)[:30] * 256
        features = rng.normal(size=(30, width)).astype(np.float32)
        write_h5(root / f"{slide_id}.h5", features, coords, mpp=0.5, patch_size_level0=256)
        rows.append((slide_id, f"{name}_p{k // 2}", dataset["classes"][k // 2 % 2], f"{slide_id}.h5"))
    pd.DataFrame(rows, columns=["slide_id", "patient_id", "label", "path"]).to_csv(sheet, index=False)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "width", "runs"), [("tnbc", 2, 12), ("til", 10, 15)])
def test_a_cohorts_configuration_runs_to_its_report(tmp_path, name, width, runs):
    config = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    config["datasets"] = dict(list(config["datasets"].items())[:1])
    config.pop("ablation", None)
    for dataset_name, dataset in config["datasets"].items():
        write_bags(tmp_path, dataset_name, dataset, width)
    config["training"] |= {"epochs": 1, "epoch_steps": 1}
    config["training"]["seeds"] = min(2, config["training"].get("seeds", 1))  # each training takes seconds to start
    config["folds"]["count"] = 3
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path)
    results = tmp_path / config["results"]
    assert len(list(results.glob("*/*/*/fold_*/predictions.csv"))) == runs
    summary = pd.read_csv(results / "summary.csv")
    models = [model["name"] for model in config["models"]]
    assert set(summary.model) == set(models) and set(summary.dataset) == set(config["datasets"])
    areas = summary[summary.metric == "auroc"]
    assert set(areas.seeds) == {config["training"].get("seeds", 1)} and set(areas.folds) == {3}
    assert areas.set_index("model").shuffled.notna().to_dict() == {m: m in ("ro-abmil", "transmil") for m in models}
    assert (results / "report.html").exists() and list(results.glob("*/*/*/model/model.json"))
