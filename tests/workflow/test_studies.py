"""`snakemake all ablation overhead`, and the two studies in the report."""

import json
import shutil
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.evaluation.fold_results import read_metadata
from tests.features.h5 import write_h5
from tests.workflow.browsing import image_size, make_report, open_category, open_entry, open_report
from tests.workflow.running import change_config, planned_jobs, run_workflow, snakemake, write_demo

SECTIONS = {
    "tiles": {"tile_px": 64, "target_mpp": 3.8},
    "folds": {"count": 3},
    "training": {"epochs": 3},
    "ablation": {
        "positions": ["none"],
        "scales": [],
        "localities": [],
        "layers": [],
        "capacity": True,
        "augmentations": [],
        "normalizations": [],
    },
    "overhead": {"models": ["ro-abmil", "mean"], "tiles": [100, 200], "repeats": 2},
}
TARGETS = ("all", "ablation", "overhead")


@pytest.mark.slow
def test_the_studies_are_in_the_report(tmp_path):
    write_demo(tmp_path, 12, **SECTIONS)
    run_workflow(tmp_path, *TARGETS)
    assert set(pd.read_csv(tmp_path / "results/ablation.csv").axis) == {"base", "position", "capacity"}
    steps = pd.read_csv(tmp_path / "results/overhead.csv").query("measure == 'step_seconds'")
    assert sorted(zip(steps.model, steps.tiles, strict=True)) == list(product(("mean", "ro-abmil"), (100, 200)))
    assert (steps["mean"] > 0).all()
    assert "random encoder weights" in (tmp_path / "results/ablation.md").read_text()
    with open_report(make_report(tmp_path, tmp_path / "report.html", *TARGETS)) as page:
        for study in ("ablation", "overhead"):
            open_category(page, "3 Studies")
            open_entry(page, study)
            assert min(image_size(page)) > 200, study
        assert page.errors == []


def write_bags(folder, slides=12):
    """Imported features of 20 tiles per slide, their slide sheet, and config.yaml with an ablation of augmentation alone."""
    rng, rows = np.random.default_rng(0), []
    for k in range(slides):
        coords = np.unique(rng.integers(0, 9, (200, 2)), axis=0)[:20] * 256
        write_h5(
            folder / f"s{k}.h5", rng.normal(size=(20, 4)).astype(np.float32), coords, mpp=0.5, patch_size_level0=256
        )
        rows.append((f"s{k}", f"p{k}", "ab"[k % 2], f"s{k}.h5"))
    columns = ["slide_id", "patient_id", "label", "path"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "slides.csv", index=False)
    config = {
        "datasets": {name: {"slides": "slides.csv", "root": ".", "classes": ["a", "b"]} for name in "de"},
        "encoder": {"name": "imported", "id": "net"},
        "folds": {"count": 3},
        "models": [{"name": "ro-abmil", "hidden_dim": 16, "attention_dim": 8, "num_heads": 2}],
        "training": {"epochs": 1, "epoch_steps": 1, "seeds": 2, "augment_grid": "flip"},
        "ablation": {
            "datasets": ["d"],
            "positions": [],
            "scales": [],
            "localities": [],
            "layers": [],
            "capacity": False,
            "augmentations": ["flip", "rotate"],
            "normalizations": [],
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.slow
def test_augmentations_are_compared_on_imported_features(tmp_path):
    """Each is trained once, with its own settings, and not again."""
    write_bags(tmp_path)
    run_workflow(tmp_path, "ablation")
    trained = {
        path.parts[-3]: json.loads(read_metadata(path)["training"])["augment_grid"]
        for path in (tmp_path / "results/d/net").glob("*/fold_*/model.safetensors")
    }
    assert trained == {"ro-abmil": "flip", "ro-abmil.augmentation-rotate": "rotate"}
    assert not (tmp_path / "results/e").exists(), "a data set without ablation"
    table = pd.read_csv(tmp_path / "results/ablation.csv").query("part == 'test' and slides == 'all'")
    assert set(zip(table.axis, table.name, strict=True)) == {
        ("base", "ro-abmil"),
        ("augmentation", "flip"),
        ("augmentation", "rotate"),
    }
    assert set(table.trainings) == {6} and table.shuffled.notna().all()
    shutil.rmtree(tmp_path / ".snakemake")  # as of results that were moved
    assert planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "ablation", "-n")) == {}
    change_config(tmp_path, training={"augment_grid": "rotate"})
    jobs = planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "ablation", "-n"))
    assert jobs == {"train": 12, "ablation": 1}, "of the varied model again, and of its variant `flip`"


@pytest.mark.slow
def test_settings_are_searched_in_each_fold_on_imported_features(tmp_path):
    """A trial per setting, the chosen one trained beside the default; a larger budget adds trials, and trains again only the folds
    that choose another setting."""
    write_bags(tmp_path)
    search = {"space": {"learning_rate": [1e-3], "dropout": [0.0, 0.5]}, "budget": 2, "datasets": ["d"]}
    change_config(tmp_path, search=search)
    run_workflow(tmp_path, "search")
    folder = tmp_path / "results/d/net/ro-abmil"
    trials = list(folder.glob("search/fold_*/*/trial.json"))
    assert len(trials) == 2 * 3 and not (tmp_path / "results/e").exists(), "a data set without search"
    assert not any(
        file.name.startswith(("model", "predictions")) for trial in trials for file in trial.parent.iterdir()
    )
    for fold in range(3):
        chosen = json.loads((folder / f"search/fold_{fold}/chosen.json").read_text())["training"]["learning_rate"]
        for run in (f"{fold}", f"{fold}_seed_2"):
            model = folder.with_name("ro-abmil.searched") / f"fold_{run}/model.safetensors"
            assert json.loads(read_metadata(model)["training"])["learning_rate"] == chosen
    table = pd.read_csv(tmp_path / "results/search.csv")
    assert set(table.setting) == {"default", "chosen"} and set(table.seeds) == {2} and len(table) == 12
    shutil.rmtree(tmp_path / ".snakemake")  # as of results that were moved
    assert planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "search", "-n")) == {}
    change_config(tmp_path, search={"budget": 3})
    jobs = planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "search", "-n"))
    assert jobs["trial"] == 3 and jobs["search"] == 1 and "train" not in jobs


def test_a_search_without_a_space_says_what_to_write(tmp_path):
    write_bags(tmp_path)
    result = snakemake(tmp_path, tmp_path / "config.yaml", "search", "-n")
    assert (
        result.returncode
        and "search: nothing to search: give search.space keys and values" in result.stdout + result.stderr
    )
