"""The jobs that Snakemake plans after one change at a time, on two data sets of small slides that are finished."""

import os
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import CLASSES, write_demo_slides, write_pyramid
from roformermil.runtime.records import write_records
from tests import ROOT
from tests.tissue_drawing import draw_tissue
from tests.workflow.running import change_config, planned_jobs, run_workflow, snakemake

pytestmark = pytest.mark.slow

SETS = ("one", "two")
TARGETS = ("all", "overhead", "ablation")
NOTHING_ELSE = {"localities": [], "capacity": False, "augmentations": [], "normalizations": []}  # of the ablation
TABLES = dict.fromkeys(("evaluate", "pages", "ablation"), 1)  # one job for all data sets
AFTER_TRAINING = {"plots": 1, "heatmap": 5, "gallery": 1, "package": 1, **TABLES}  # of one data set
AFTER_TILES = {
    "check_slides": 1,
    "contact_sheet": 1,
    "collect": 1,
    "split": 1,
    "reference": 1,
    "train": 9,
    **AFTER_TRAINING,
}
OTHER_SLIDE = {"segment": 1, "tile": 1, "embed": 1, **AFTER_TILES}
ONE_BATCH = {"list_slides": 1, **OTHER_SLIDE}
ALL_TRAINED = {"train": 18, "plots": 2, "heatmap": 9, "gallery": 2, "package": 2, **TABLES}  # of both data sets
ALL_TILED = {
    "tile": 9,
    "embed": 9,
    "check_slides": 2,
    "contact_sheet": 2,
    "collect": 2,
    "split": 2,
    "reference": 2,
    **ALL_TRAINED,
}
THREE_BATCHES_JOIN = {**ALL_TILED, **dict.fromkeys(("list_slides", "segment", "tile", "embed"), 3), "heatmap": 6}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder after a whole run on two data sets of 12 slides in 4 batches; the first has a broken slide and a batch more.
    It has its own copy of the workflow and of the package, which a test may edit."""
    folder = tmp_path_factory.mktemp("reruns")
    for part in ("roformermil", "workflow", "envs"):
        shutil.copytree(ROOT / part, folder / "checkout" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder / "checkout")
    for name in SETS:
        write_demo_slides(folder / name, 12)
    (folder / "one/broken.svs").write_bytes(np.random.default_rng(0).bytes(3_000_000))
    edit_sheet(folder, lambda lines: [*lines, "broken,patient_broken,excluded,broken.svs"])
    model = {"name": "ro-abmil", "hidden_dim": 16, "num_heads": 2, "attention_dim": 16}
    config = {"max_failed_fraction": 0.2, "slides_per_batch": 4, "folds": {"count": 3}, "training": {"epochs": 1}}
    config |= {
        "datasets": {name: {"slides": f"{name}/slides.csv", "root": name, "classes": list(CLASSES)} for name in SETS},
        "encoder": {"name": "resnet50", "weights": "random", "compile": "never"},
        "tiles": {"tile_px": 64, "target_mpp": 4.0},
        "models": [{"name": "mean", "hidden_dim": 16}],
        "ablation": {"model": model, "positions": ["isotropic", "none"], "scales": [1], "layers": [1], **NOTHING_ELSE},
        "overhead": {"models": [{"name": "mean", "hidden_dim": 16}], "tiles": [50], "repeats": 2},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(folder, *TARGETS, checkout=folder / "checkout")
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of that folder, with its time stamps and Snakemake's records."""
    return shutil.copytree(finished, tmp_path / "copy", symlinks=True)


def edit_sheet(folder, change):
    """Write the lines that `change` makes of those of the first data set's slide sheet."""
    sheet = folder / "one/slides.csv"
    sheet.write_text("\n".join(change(sheet.read_text().splitlines())) + "\n")


def add_a_slide(folder, line=14):
    """By default at the end of the slide sheet; it differs from all others."""
    write_pyramid(folder / "one/new.tif", draw_tissue(np.random.default_rng(99), 2000, 2000))
    edit_sheet(folder, lambda lines: [*lines[:line], "new,patient_new,excluded,new.tif", *lines[line:]])


def reorder_the_columns(folder):
    edit_sheet(folder, lambda lines: [",".join([*row[1:], row[0]]) for row in (line.split(",") for line in lines)])


def reverse_the_rows(folder):
    edit_sheet(folder, lambda lines: [lines[0], *lines[:0:-1]])


def replace_a_slide(folder):
    shutil.copy(folder / "one/demo_01.tif", folder / "one/demo_00.tif")


def replace_by_an_older_slide(folder):
    os.utime(shutil.copy(folder / "one/demo_01.tif", folder / "one/demo_00.tif"), (10**9, 10**9))


def mend_by_an_older_file(folder):
    os.utime(shutil.copy(folder / "one/demo_01.tif", folder / "one/broken.svs"), (10**9, 10**9))


def touch_slides(folder):
    (folder / "one/demo_00.tif").touch()
    (folder / "one/broken.svs").touch()


def stall_while_another_slide_is_added(folder):
    """Another batch was not encoded completely: it has a reason of its own to run again, beside that of the new slide's."""
    table = folder / "results/one/features/resnet50-random/batch_11.csv"
    records = read_slide_table(table)
    write_records(table, [replace(records[0], status="timed_out", stage="embed"), *records[1:]])
    add_a_slide(folder)


def drop_the_last_data_set(folder):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    del config["datasets"][SETS[-1]]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def edit_code(folder, module):
    with (folder / "checkout/roformermil" / module).open("a") as file:
        file.write("# another line\n")


REMOVE_THE_LAST = partial(edit_sheet, change=lambda lines: lines[:-1])
EXCLUDE_THE_FIRST = partial(
    edit_sheet,
    change=lambda lines: [f"{lines[0]},exclude", f"{lines[1]},doubtful", *(f"{line}," for line in lines[2:])],
)
CHANGE_A_LABEL = partial(
    edit_sheet, change=lambda lines: [lines[0], lines[1].replace("inflamed", "excluded"), *lines[2:]]
)
LEARNING_RATE = partial(change_config, training={"learning_rate": 0.01})
TWO_MODELS = partial(change_config, models=[{"name": "mean", "hidden_dim": 16}, {"name": "max", "hidden_dim": 16}])
FORGOTTEN = {  # what was changed after Snakemake's records were gone, as those of results that were moved
    "the learning rate": (lambda folder: change_config(folder, training={"learning_rate": 0.01}), ALL_TRAINED),
    "a label": (CHANGE_A_LABEL, {"split": 1, "reference": 1, "train": 9, **AFTER_TRAINING}),
    "the seed of folds": (partial(change_config, folds={"seed": 7}), {"split": 2, "reference": 2, **ALL_TRAINED}),
    "a tile setting": (partial(change_config, tiles={"min_tissue": 0.5}), ALL_TILED),
    "a tissue setting": (partial(change_config, tissue={"mpp": 9.0}), {"segment": 9, **ALL_TILED}),
    "an encoder setting": (
        partial(change_config, encoder={"seed": 3}),
        {"embed": 9, "collect": 2, "split": 2, "reference": 2, **ALL_TRAINED},
    ),
    "a slide is excluded": (EXCLUDE_THE_FIRST, ONE_BATCH),
    "a data set less": (drop_the_last_data_set, {"evaluate": 1, "pages": 1}),
    "the failures allowed": (partial(change_config, max_failed_fraction=0.5), {}),
    "nothing": (lambda folder: None, {}),
}
CHANGES = {
    "nothing": (lambda folder: None, {}),
    "a slide is added at the end": (add_a_slide, ONE_BATCH),
    "a slide is added on top": (partial(add_a_slide, line=1), ONE_BATCH),
    "a slide is removed, which joins two batches": (REMOVE_THE_LAST, ONE_BATCH | {"heatmap": 4}),
    "the order of a slide sheet's rows": (reverse_the_rows, {"split": 1, "reference": 1, "train": 9, **AFTER_TRAINING}),
    "a slide is replaced by another": (replace_a_slide, OTHER_SLIDE),
    "a slide is replaced by another with an older date": (replace_by_an_older_slide, OTHER_SLIDE),
    "a broken slide is mended by a file with an older date": (mend_by_an_older_file, OTHER_SLIDE),
    "a slide is added, and one of another batch had stalled": (
        stall_while_another_slide_is_added,
        ONE_BATCH | {"embed": 2},
    ),
    "slides are touched, one of them broken": (touch_slides, {}),
    "a label": (CHANGE_A_LABEL, {"split": 1, "reference": 1, "train": 9, **AFTER_TRAINING}),
    "the order of a slide sheet's columns": (reorder_the_columns, {}),
    "a tile setting": (partial(change_config, tiles={"min_tissue": 0.5}), ALL_TILED),
    "a tissue setting": (partial(change_config, tissue={"mpp": 9.0}), {"segment": 9, **ALL_TILED}),
    "the learning rate": (LEARNING_RATE, ALL_TRAINED),
    "one more model": (TWO_MODELS, {"train": 6, "plots": 2, "package": 2, "evaluate": 1, "pages": 1}),
    "the failures allowed": (partial(change_config, max_failed_fraction=0.5), {}),
    "memory and processes of training": (partial(change_config, training={"cache_gb": 1, "readers": 2}), {}),
    "threads and batches of the encoder": (partial(change_config, encoder={"readers": 1, "batch_size": 8}), {}),
    "the seconds allowed per slide": (partial(change_config, slide_timeout=60.0), {}),
    "slides per batch": (partial(change_config, slides_per_batch=5), THREE_BATCHES_JOIN),
    "a key of the ablation": (partial(change_config, ablation={"scales": [2.0]}), {"train": 6, "ablation": 1}),
    "the code of the studies' plots": (partial(edit_code, module="studies/plots.py"), {"overhead": 1, "ablation": 1}),
    "the code of a data set's plots": (partial(edit_code, module="report/plots/dataset.py"), {"plots": 2, "pages": 1}),
    "the code of tables": (partial(edit_code, module="evaluation/summary.py"), {"package": 2, "plots": 2, **TABLES}),
    "code that makes no result": (partial(edit_code, module="evaluation/trace.py"), {}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_plans_the_jobs_that_depend_on_it_and_no_others(copy, change):
    edit, expected = CHANGES[change]
    edit(copy)
    plan = snakemake(copy, copy / "config.yaml", *TARGETS, "-n", checkout=copy / "checkout")
    assert planned_jobs(plan) == expected


@pytest.mark.parametrize("change", FORGOTTEN)
def test_moved_results_are_compared_with_the_slide_sheet_and_the_configuration(copy, change):
    edit, expected = FORGOTTEN[change]
    shutil.rmtree(copy / ".snakemake")
    edit(copy)
    plan = snakemake(copy, copy / "config.yaml", *TARGETS, "-n", checkout=copy / "checkout")
    assert planned_jobs(plan) == expected


def test_a_new_slide_leaves_other_data_sets_and_other_stores_as_they_are(copy):
    stores = copy / "results/one/features/resnet50-random"
    files = [path for name in SETS[1:] for path in (copy / "results" / name).rglob("*")]
    files += stores.glob("*.zarr/zarr.json")  # their batch runs again, and leaves what is current
    before, old = {path: path.stat().st_mtime_ns for path in files}, {path.name for path in stores.glob("*.zarr")}
    add_a_slide(copy)
    run_workflow(copy, *TARGETS, checkout=copy / "checkout")
    assert before == {path: path.stat().st_mtime_ns for path in files}
    assert {path.name for path in stores.glob("*.zarr")} == {*old, "new.zarr"}


def test_the_ablation_compares_variants_on_the_same_folds(finished):
    table = pd.read_csv(finished / "results/ablation.csv")
    assert set(table.model) == {"ro-abmil", "ro-abmil.position-none"}
    assert set(table[table.name == "none"].part) == {"train", "validation", "test"}
    assert set(table[(table.slides == "all")].folds) == {3}
    both = table.query("part == 'test' and slides == 'all' and metric == 'auroc' and dataset == 'one'")
    both = both.set_index("model")
    assert both.loc["ro-abmil.position-none", "parameters"] == both.loc["ro-abmil", "parameters"].iloc[0]
    assert (finished / "results/ablation.png").exists()  # what it shows: tests/studies


def test_an_external_data_set_is_predicted_without_training_again(copy):
    """Its first run, and another label of it, run no job of the data set that is trained on but tables and report."""
    config = yaml.safe_load((copy / "config.yaml").read_text())
    sheet = write_demo_slides(copy / "other", 4, seed=1)
    config["datasets"]["other"] = {"slides": "other/slides.csv", "root": "other", "validates": "one"}
    sheet.write_text(sheet.read_text().replace("patient_", "other_"))
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    plan = planned_jobs(snakemake(copy, copy / "config.yaml", "all", "-n", checkout=copy / "checkout"))
    assert not plan.keys() & {"train", "package", "reference"}
    assert plan | {"external": 3, "external_plots": 1, "shift": 1, "split": 1, "heatmap": 1} == plan
    models = {path: path.read_bytes() for path in (copy / "results/one").rglob("model.safetensors")}
    run_workflow(copy, "all", checkout=copy / "checkout")
    assert set(pd.read_csv(copy / "results/external.csv").trained_on) == {"one"}
    assert "External validation" in (copy / "results/report.html").read_text()
    drawn = (copy / "results/other/resnet50-random/mean/heatmaps").glob("*.png")
    assert len({path.name.split(".")[0] for path in drawn}) == 4
    before = pd.read_csv(copy / "results/external.csv")
    first, second = CLASSES
    lines = sheet.read_text().splitlines()
    lines[1] = lines[1].replace(*((first, second) if f",{first}," in lines[1] else (second, first)))
    sheet.write_text("\n".join(lines) + "\n")
    plan = planned_jobs(snakemake(copy, copy / "config.yaml", "all", "-n", checkout=copy / "checkout"))
    assert not plan.keys() & {"train", "package", "reference", "embed"} and plan["external"] == 3
    run_workflow(copy, "all", checkout=copy / "checkout")
    assert not before.equals(pd.read_csv(copy / "results/external.csv"))
    assert all(path.read_bytes() == content for path, content in models.items())
