"""Paths with characters that mean something to a shell, to Snakemake, to glob patterns or in addresses."""

import shutil

import pytest
import yaml

from roformermil.cohort.synthetic import CLASSES, write_demo_slides
from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.errors import ConfigError
from roformermil.runtime.records import write_rows
from tests.factories import read_rows
from tests.workflow.browsing import make_report
from tests.workflow.running import planned_jobs, run_workflow, snakemake

ODD_PARTS = [" ", "é", "[x]", "{a}", "{", "}", "#", "%20", "'", "&", '"', "$HOME", "*?", ";", "\\"]
ODD = " é[x]#%20'&\"$HOME;*?\\"  # all but braces


def write_data_set(folder, name, slides=0):
    """Slides, their root and their slide sheet, all with `name` in their names; returns the data set's settings. By default
    two empty files."""
    root, sheet = folder / f"root{name}", folder / f"sheet{name}.csv"
    if slides:
        rows = read_rows(write_demo_slides(root, slides))
    else:
        root.mkdir()
        rows = [{"slide_id": label, "patient_id": label, "label": label, "path": label} for label in CLASSES]
        for label in CLASSES:
            (root / label).touch()
    for number, row in enumerate(rows):
        path = f"{number}{name}.tif"
        (root / row["path"]).rename(root / path)
        row["path"] = path
    write_rows(sheet, rows)
    return {"slides": str(sheet), "root": str(root), "classes": list(CLASSES)}


def write_config(folder, **sections):
    config = {
        "results": f"results{ODD}",
        "folds": {"count": 3},
        "training": {"epochs": 1},
        "encoder": {"name": "resnet50", "weights": "random", "compile": "never"},
        "tiles": {"tile_px": 64, "target_mpp": 4.0},
        "models": [{"name": "mean", "hidden_dim": 16}],
    }
    path = folder / f"config{ODD}{{a}}.yaml"
    path.write_text(yaml.safe_dump(config | sections))
    return path


def test_paths_with_any_character_can_be_planned(tmp_path):
    datasets = {f"set{k}": write_data_set(tmp_path, f"{k}{part}") for k, part in enumerate(ODD_PARTS)}
    weights, folds = tmp_path / f"weights{ODD}{{a}}.pth", tmp_path / f"folds{ODD}{{a}}.csv"
    for file in (weights, folds):
        file.write_text("fold")
    sections = {"encoder": {"name": "resnet50", "weights": str(weights)}, "folds": {"path": str(folds), "count": 3}}
    jobs = planned_jobs(snakemake(tmp_path, write_config(tmp_path, datasets=datasets, **sections), "-n"))
    assert jobs["segment"] == jobs["embed"] == jobs["split"] == len(ODD_PARTS)


@pytest.mark.parametrize("results", ["results{a}", "results{", "a\nb"])
def test_results_that_snakemake_cannot_name_are_refused(results):
    dataset = {"slides": "a.csv", "root": "a", "classes": list(CLASSES)}
    with pytest.raises(ConfigError, match="results: .* has braces or a line break"):
        read_settings(Config, {"results": results, "datasets": {"one": dataset}})


@pytest.mark.slow
def test_a_whole_run_and_its_report_with_odd_paths(tmp_path):
    import torch

    from roformermil.config import Encoder
    from roformermil.features.encoders import load_trunk

    weights = tmp_path / f"weights{ODD}{{a}}.pth"
    torch.save(load_trunk(Encoder(name="resnet50", weights="random")).state_dict(), weights)
    encoder = {"name": "resnet50", "weights": str(weights), "compile": "never"}
    config = write_config(tmp_path, datasets={"one": write_data_set(tmp_path, f"{ODD}{{a}}", 12)}, encoder=encoder)
    shutil.move(config, tmp_path / "config.yaml")
    run_workflow(tmp_path)
    results = tmp_path / f"results{ODD}"
    assert (results / "summary.md").exists() and (results / "report.html").exists()
    assert len(list((results / "one").glob("resnet50*/mean/model/model.json"))) == 1
    assert planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "-n")) == {}
    assert make_report(tmp_path, tmp_path / "report.html").stat().st_size > 10**6
