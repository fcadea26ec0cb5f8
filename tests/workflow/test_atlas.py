"""Features of two real slides with real weights: one states its mpp, the other has it in the slide sheet."""

import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table
from roformermil.features.store import read_store
from tests import ROOT
from tests.workflow.running import run_workflow


@pytest.mark.shared
def test_two_real_slides_have_features_on_their_grid(shared, tmp_path):
    lines = (ROOT / "config/datasets/atlas.csv").read_text().splitlines()
    chosen = [line for line in lines if line.startswith(("slide_id", "congestion-spleen", "cholesterolpolyp"))]
    (tmp_path / "slides.csv").write_text("\n".join(chosen) + "\n")
    config = yaml.safe_load((ROOT / "config/atlas.yaml").read_text())
    config["datasets"]["atlas"] |= {"slides": "slides.csv", "root": str(shared / "slides/pathology_atlas")}
    config["encoder"]["weights"] = str((ROOT / config["encoder"]["weights"]).resolve())
    config["results"] = "results"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path, "features")
    records = {record.slide_id: record for record in read_slide_table(tmp_path / "results/atlas/slides.csv")}
    assert {name: (record.status, record.mpp_source) for name, record in records.items()} == {
        "congestion-spleen": ("ok", "vendor"),
        "cholesterolpolyp": ("ok", "sheet"),
    }
    clam, trident = 140, 151  # tiles that they give on this slide by the biopsy preset and by Otsu
    assert 0.9 * clam <= records["congestion-spleen"].tiles <= 1.1 * trident
    for name, record in records.items():
        stored = read_store(tmp_path / f"results/atlas/features/resnet50-msra/{name}.zarr")
        assert stored.features.shape == (record.tiles, 1024) and stored.features.std(axis=0).mean() > 0.05
        assert (stored.coords == stored.grid * round(128 / record.mpp)).all()
