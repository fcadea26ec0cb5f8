"""Only what changed: three data sets of small slides, a whole run, then one change at a time and the jobs that it plans."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.cohort.synthetic import draw_tissue, write_demo_slides, write_pyramid
from tests.conftest import ROOT
from tests.workflow.running import planned, snakemake

SETS = ("one", "two", "three")
LEAVES = {"evaluate": 1, "overview": 1, "ablation": 1}  # what all data sets share
OF_ONE_SLIDE = {
    "segment": 1, "tile": 1, "embed": 1, "contact": 1, "collect": 1, "split": 1, "train": 9, "figures": 1,
    "heatmap": 4, "gallery": 1, "package": 1, **LEAVES
}  # fmt: skip


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the folder's own copy of the workflow and the package, which a test may edit."""
    targets = ("all", "overhead", "ablation")
    return snakemake(folder, folder / "config.yaml", *targets, *arguments, package=folder / "package")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with three data sets of 12 slides in batches of 4, one of them with a broken one more, after a whole run."""
    folder = tmp_path_factory.mktemp("reruns")
    for part in ("roformermil", "workflow", "envs"):
        shutil.copytree(ROOT / part, folder / "package" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", folder / "package")
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


def new_slide(folder) -> str:
    """A slide that no other equals, and its row of the sheet."""
    write_pyramid(folder / "one/new.tif", draw_tissue(np.random.default_rng(99), 2000, 2000, "mixed"))
    return "new,patient_new,mixed,new.tif"


def add_a_slide(folder):
    sheet = folder / "one/slides.csv"
    sheet.write_text(sheet.read_text() + new_slide(folder) + "\n")


def add_a_slide_on_top(folder):
    sheet = folder / "one/slides.csv"
    head, *rows = sheet.read_text().splitlines()
    sheet.write_text("\n".join([head, new_slide(folder), *rows]) + "\n")


def strike_out_the_last_slide(folder):
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


def reorder_the_sheets_columns(folder):
    sheet = folder / "one/slides.csv"
    rows = [line.split(",") for line in sheet.read_text().splitlines()]
    sheet.write_text("".join(",".join([*row[1:], row[0]]) + "\n" for row in rows))


def edit_code(module):
    def edit(folder):
        with (folder / "package/roformermil" / module).open("a") as file:
            file.write("# another line\n")

    return edit


def config(**change):
    def edit(folder):
        values = yaml.safe_load((folder / "config.yaml").read_text())
        for key, value in change.items():
            values[key] = values.get(key, {}) | value if isinstance(value, dict) else value
        (folder / "config.yaml").write_text(yaml.safe_dump(values))

    return edit


OF_ALL = {
    "contact": 3,
    "collect": 3,
    "split": 3,
    "train": 27,
    "figures": 3,
    "heatmap": 10,
    "gallery": 3,
    "package": 3,
    **LEAVES,
}
OF_TILES = {"tile": 10, "embed": 10, **OF_ALL}
CHANGES = {
    "nothing": (lambda folder: None, {}),
    "a slide is added at the end": (add_a_slide, OF_ONE_SLIDE),
    "a slide is added on top, so that all batches of its data set move on": (
        add_a_slide_on_top,
        OF_ONE_SLIDE | {"segment": 4, "tile": 4, "embed": 4},
    ),
    "the last slide is struck out, alone in its batch": (
        strike_out_the_last_slide,
        {rule: count for rule, count in OF_ONE_SLIDE.items() if rule not in ("segment", "tile", "embed")}
        | {"heatmap": 3},
    ),
    "a slide is replaced by another": (replace_a_slide, OF_ONE_SLIDE),
    "slides are touched, one of them broken": (touch_slides, {}),
    "a label": (
        change_a_label,
        {"split": 1, "train": 9, "figures": 1, "heatmap": 4, "gallery": 1, "package": 1, **LEAVES},
    ),
    "the order of a sheet's columns": (reorder_the_sheets_columns, {}),
    "a tile setting": (config(tiles={"min_tissue": 0.5}), OF_TILES),
    "a tissue setting": (config(tissue={"threshold": 9}), {"segment": 10, **OF_TILES}),
    "the learning rate": (
        config(training={"learning_rate": 0.01}),
        {"train": 27, "figures": 3, "heatmap": 10, "gallery": 3, "package": 3, **LEAVES},
    ),
    "one more model": (
        config(models=[{"name": "mean", "hidden_dim": 16}, {"name": "max", "hidden_dim": 16}]),
        {"train": 9, "figures": 3, "package": 3, "evaluate": 1, "overview": 1},
    ),
    "the failures allowed": (config(max_failed_fraction=0.5), {}),
    "what is kept in memory": (config(training={"cache_gb": 1, "readers": 2}), {}),
    "threads that read tiles, and patience with them": (
        config(encoder={"readers": 1, "batch_size": 8}, slide_timeout=60.0),
        {},
    ),
    "slides a batch": (config(slides_per_batch=5), {"segment": 9, "tile": 9, "embed": 9, **OF_ALL, "heatmap": 9}),
    "a key of the ablation": (config(ablation={"scales": [2.0]}), {"train": 9, "ablation": 1}),
    "the code of the studies' figures": (edit_code("studies/figures.py"), {"overhead": 1, "ablation": 1}),
    "the code of the data sets' figures": (edit_code("figures/performance.py"), {"figures": 3}),
    "the code of tables": (edit_code("evaluation/summary.py"), {"package": 3, **LEAVES}),
    "code that makes no result": (edit_code("evaluation/explain.py"), {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_what_depends_on_a_change_is_planned_and_nothing_else(done, tmp_path, change):
    edit, expected = CHANGES[change]
    folder = tmp_path / "copy"
    shutil.copytree(done, folder, symlinks=True)  # with its time stamps and Snakemake's records
    edit(folder)
    assert planned(run(folder, "-n")) == expected


@pytest.mark.slow
def test_the_plan_touches_no_other_data_set(done, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    add_a_slide(folder)
    before = {path: path.stat().st_mtime_ns for name in SETS[1:] for path in (folder / "results" / name).rglob("*")}
    result = run(folder)
    assert result.returncode == 0, result.stderr[-3000:]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    stores = folder / "results/one/features/resnet50-random"
    old = {path.name for path in (done / "results/one/features/resnet50-random").glob("*.zarr")}
    assert {path.name for path in stores.glob("*.zarr")} == {*old, "new.zarr"}
    for name in old:  # its batch ran again, and left what was current
        there = (stores / name / "zarr.json").stat().st_mtime
        assert there == (done / "results/one/features/resnet50-random" / name / "zarr.json").stat().st_mtime


@pytest.mark.slow
def test_the_ablation_shares_the_folds_and_the_model_it_varies(done):
    table = pd.read_csv(done / "results/ablation.csv")
    assert set(table.model) == {"ro-abmil", "ro-abmil.position-none"}
    assert set(table[table.name == "none"].part) == {"train", "validation", "test"}
    assert set(table[(table.slides == "all")].folds) == {3}
    both = table[
        (table.part == "test") & (table.slides == "all") & (table.metric == "auroc") & (table.dataset == "one")
    ]
    both = both.set_index("model")
    assert both.loc["ro-abmil.position-none", "parameters"] == both.loc["ro-abmil", "parameters"].iloc[0]
    assert (done / "results/ablation.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_overhead_has_every_model_at_every_size(done):
    table = pd.read_csv(done / "results/overhead.csv")
    steps = table[table.measure == "step_seconds"].set_index(["model", "tiles"])
    assert list(steps.index) == [("mean", 50)]
    assert (steps["mean"] > 0).all()
    assert (done / "results/overhead.png").exists()
