"""Repeated cross-validation by site of the linear baseline, from slides to the report."""

import csv
import json
from collections import Counter

import pandas as pd
import pytest

from tests.workflow.running import COARSE_TILES, change_config, run_workflow, write_demo

pytestmark = pytest.mark.slow


def test_slides_of_a_site_stay_together_and_the_first_repeat_makes_heat_maps_and_package(tmp_path):
    """Sites are those of TCGA barcodes, two patients each."""
    folds = {"count": 3, "repeats": 2, "mode": "site"}
    write_demo(tmp_path, 20, tiles=COARSE_TILES, folds=folds, models=[{"name": "mean-linear"}])
    change_config(tmp_path, heatmaps={"models": ["mean-linear"]}, training={"class_weights": [1, 2]})
    sheet = tmp_path / "slides/slides.csv"
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    barcodes = {name: f"TCGA-A{k // 2}-{k:04d}" for k, name in enumerate(sorted({row["patient_id"] for row in rows}))}
    sheet.write_text("slide_id,patient_id,label,path\n")
    with sheet.open("a") as file:
        for row in rows:
            file.write(f"{row['slide_id']},{barcodes[row['patient_id']]},{row['label']},{row['path']}\n")
    change_config(
        tmp_path,
        datasets={
            "demo": {
                "slides": str(sheet),
                "root": str(sheet.parent),
                "sites": "tcga",
                "classes": ["inflamed", "excluded"],
            }
        },
    )
    run_workflow(tmp_path)
    results = tmp_path / "results"
    table = pd.read_csv(results / "demo/folds.csv")
    parts = table.groupby(["fold", table.patient_id.str[5:7]]).part.nunique()
    assert set(table.fold) == set(range(6)) and (parts == 1).all()
    model = results / "demo/resnet50-random/mean-linear"
    card = json.loads((model / "model/model.json").read_text())
    assert list(card["members"]) == [f"fold_{k}.safetensors" for k in range(3)] and card["repeats"] == 2
    assert len(list((model / "heatmaps").glob("*.jpg"))) == 20
    summary = pd.read_csv(results / "summary.csv").set_index("metric")
    assert summary.folds["accuracy"] == 6
    confusion = pd.read_csv(results / "confusion.csv")
    assert confusion.slides.sum() == 20, Counter(table.fold)
    assert "2 repeats of 3 folds by site; 20 of 20 slides" in (results / "summary.md").read_text()
    assert "training weighted the classes" in (results / "report.html").read_text()
