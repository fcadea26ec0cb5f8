"""The jobs that Snakemake plans after one change at a time, on three data sets of small slides that are finished."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.cohort.synthetic import draw_tissue, write_demo_slides, write_pyramid
from tests import ROOT
from tests.workflow.running import planned_jobs, snakemake

SETS = ("one", "two", "three")
TABLES = dict.fromkeys(("evaluate", "pages", "ablation"), 1)  # one job for all data sets
AFTER_TRAINING = {"plots": 1, "heatmap": 4, "gallery": 1, "package": 1, **TABLES}  # of one data set
AFTER_TILES = {"contact_sheet": 1, "collect": 1, "split": 1, "train": 9, **AFTER_TRAINING}
ONE_BATCH = {"segment": 1, "tile": 1, "embed": 1, **AFTER_TILES}
ALL_TRAINED = {"train": 27, "plots": 3, "heatmap": 10, "gallery": 3, "package": 3, **TABLES}  # of three data sets
ALL_TILED = {"tile": 10, "embed": 10, "contact_sheet": 3, "collect": 3, "split": 3, **ALL_TRAINED}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the folder's own copy of the workflow and of the package, which a test may edit."""
    targets = ("all", "overhead", "ablation")
    return snakemake(folder, folder / "config.yaml", *targets, *arguments, checkout=folder / "checkout")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder after a whole run on three data sets of 12 slides in batches of 4; the first has a broken slide more."""
    folder = tmp_path_factory.mktemp("reruns")
    for part in ("roformermil", "workflow", "envs"):
        shutil.copytree(ROOT / part, folder / "checkout" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder / "checkout")
    for name in SETS:
        write_demo_slides(folder / name, 12)
    (folder / "one/broken.svs").write_bytes(np.random.default_rng(0).bytes(3_000_000))
    with (folder / "one/slides.csv").open("a") as file:
        file.write("broken,patient_broken,mixed,broken.svs\n")
    config = {
        "max_failed_fraction": 0.2,
        "datasets": {
            name: {"slides": f"{name}/slides.csv", "root": name, "classes": ["separate", "mixed"]} for name in SETS
        },
        "encoder": {"name": "resnet50", "weights": "random", "compile": "never"},
        "tiles": {"tile_px": 64, "target_mpp": 4.0},
        "folds": {"count": 3},
        "models": [{"name": "mean", "hidden_dim": 16}],
        "ablation": {
            "model": {"name": "ro-abmil", "hidden_dim": 16, "num_heads": 2, "attention_dim": 16},
            "positions": ["pixel", "none"],
            "scales": [1],
            "layers": [1],
            "capacity": False,
        },
        "training": {"epochs": 1},
        "overhead": {"models": [{"name": "mean", "hidden_dim": 16}], "tiles": [50], "repeats": 2},
        "slides_per_batch": 4,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = run(folder)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def write_new_slide(folder) -> str:
    """Write a slide that differs from all others; returns its row of the slide sheet."""
    write_pyramid(folder / "one/new.tif", draw_tissue(np.random.default_rng(99), 2000, 2000, "mixed"))
    return "new,patient_new,mixed,new.tif"


def add_a_slide(folder):
    sheet = folder / "one/slides.csv"
    sheet.write_text(sheet.read_text() + write_new_slide(folder) + "\n")


def add_a_slide_on_top(folder):
    sheet = folder / "one/slides.csv"
    head, *rows = sheet.read_text().splitlines()
    sheet.write_text("\n".join([head, write_new_slide(folder), *rows]) + "\n")


def remove_the_last_slide(folder):
    sheet = folder / "one/slides.csv"
    sheet.write_text("\n".join(sheet.read_text().splitlines()[:-1]) + "\n")


def change_a_label(folder):
    sheet = folder / "one/slides.csv"
    sheet.write_text(sheet.read_text().replace("demo_00,patient_00,separate", "demo_00,patient_00,mixed"))


def replace_a_slide(folder):
    shutil.copy(folder / "one/demo_01.tif", folder / "one/demo_00.tif")


def touch_slides(folder):
    (folder / "one/demo_00.tif").touch()
    (folder / "one/broken.svs").touch()


def reorder_the_columns(folder):
    sheet = folder / "one/slides.csv"
    rows = [line.split(",") for line in sheet.read_text().splitlines()]
    sheet.write_text("".join(",".join([*row[1:], row[0]]) + "\n" for row in rows))


def edit_code(module):
    def edit(folder):
        with (folder / "checkout/roformermil" / module).open("a") as file:
            file.write("# another line\n")

    return edit


def change_config(**change):
    def edit(folder):
        values = yaml.safe_load((folder / "config.yaml").read_text())
        for key, value in change.items():
            values[key] = values.get(key, {}) | value if isinstance(value, dict) else value
        (folder / "config.yaml").write_text(yaml.safe_dump(values))

    return edit


LEARNING_RATE = change_config(training={"learning_rate": 0.01})
TWO_MODELS = change_config(models=[{"name": "mean", "hidden_dim": 16}, {"name": "max", "hidden_dim": 16}])
CHANGES = {
    "nothing": (lambda folder: None, {}),
    "a slide is added at the end": (add_a_slide, ONE_BATCH),
    "a slide is added on top, which moves all batches of its data set": (
        add_a_slide_on_top,
        {"segment": 4, "tile": 4, "embed": 4, **AFTER_TILES},
    ),
    "the last slide is removed, alone in its batch": (remove_the_last_slide, AFTER_TILES | {"heatmap": 3}),
    "a slide is replaced by another": (replace_a_slide, ONE_BATCH),
    "slides are touched, one of them broken": (touch_slides, {}),
    "a label": (change_a_label, {"split": 1, "train": 9, **AFTER_TRAINING}),
    "the order of a slide sheet's columns": (reorder_the_columns, {}),
    "a tile setting": (change_config(tiles={"min_tissue": 0.5}), ALL_TILED),
    "a tissue setting": (change_config(tissue={"threshold": 9}), {"segment": 10, **ALL_TILED}),
    "the learning rate": (LEARNING_RATE, ALL_TRAINED),
    "one more model": (TWO_MODELS, {"train": 9, "plots": 3, "package": 3, "evaluate": 1, "pages": 1}),
    "the failures allowed": (change_config(max_failed_fraction=0.5), {}),
    "memory and processes of training": (change_config(training={"cache_gb": 1, "readers": 2}), {}),
    "threads and batches of the encoder": (change_config(encoder={"readers": 1, "batch_size": 8}), {}),
    "the seconds allowed per slide": (change_config(slide_timeout=60.0), {}),
    "slides per batch": (
        change_config(slides_per_batch=5),
        {"segment": 9, **ALL_TILED, "tile": 9, "embed": 9, "heatmap": 9},
    ),
    "a key of the ablation": (change_config(ablation={"scales": [2.0]}), {"train": 9, "ablation": 1}),
    "the code of the studies' plots": (edit_code("studies/plots.py"), {"overhead": 1, "ablation": 1}),
    "the code of a data set's plots": (edit_code("report/plots/dataset.py"), {"plots": 3}),
    "the code of tables": (edit_code("evaluation/summary.py"), {"package": 3, **TABLES}),
    "code that makes no result": (edit_code("evaluation/trace.py"), {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_plans_the_jobs_that_depend_on_it_and_no_others(finished, tmp_path, change):
    edit, expected = CHANGES[change]
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)  # with its time stamps and Snakemake's records
    edit(folder)
    assert planned_jobs(run(folder, "-n")) == expected


@pytest.mark.slow
def test_a_new_slide_leaves_other_data_sets_and_other_stores_as_they_are(finished, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    add_a_slide(folder)
    before = {path: path.stat().st_mtime_ns for name in SETS[1:] for path in (folder / "results" / name).rglob("*")}
    result = run(folder)
    assert result.returncode == 0, result.stderr[-3000:]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    stores = folder / "results/one/features/resnet50-random"
    old = {path.name for path in (finished / "results/one/features/resnet50-random").glob("*.zarr")}
    assert {path.name for path in stores.glob("*.zarr")} == {*old, "new.zarr"}
    for name in old:  # its batch ran again, and left what was current
        there = (stores / name / "zarr.json").stat().st_mtime
        assert there == (finished / "results/one/features/resnet50-random" / name / "zarr.json").stat().st_mtime


@pytest.mark.slow
def test_the_ablation_compares_variants_on_the_same_folds(finished):
    table = pd.read_csv(finished / "results/ablation.csv")
    assert set(table.model) == {"ro-abmil", "ro-abmil.position-none"}
    assert set(table[table.name == "none"].part) == {"train", "validation", "test"}
    assert set(table[(table.slides == "all")].folds) == {3}
    both = table[
        (table.part == "test") & (table.slides == "all") & (table.metric == "auroc") & (table.dataset == "one")
    ]
    both = both.set_index("model")
    assert both.loc["ro-abmil.position-none", "parameters"] == both.loc["ro-abmil", "parameters"].iloc[0]
    assert (finished / "results/ablation.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_overhead_is_measured_for_every_model_and_number_of_tiles(finished):
    table = pd.read_csv(finished / "results/overhead.csv")
    steps = table[table.measure == "step_seconds"].set_index(["model", "tiles"])
    assert list(steps.index) == [("mean", 50)]
    assert (steps["mean"] > 0).all()
    assert (finished / "results/overhead.png").exists()
