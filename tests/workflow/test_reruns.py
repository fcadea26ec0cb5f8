"""Only what changed: three data sets of small slides, a whole run, then one change at a time and the jobs that it plans."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from roformermil.demo import write_demo
from tests.conftest import ROOT

SETS = ("one", "two", "three")
OF_ONE_SLIDE = {
    "segment": 1, "tile": 1, "embed": 1, "contact": 1, "collect": 1, "split": 1, "train": 3, "evaluate": 1
}  # fmt: skip


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the folder's own copy of the workflow and the package, which a test may edit."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", folder / "package/Snakefile"]
    command += ["--directory", folder]
    command += ["--cores", "2", "all", "overhead", *arguments, "--configfile", folder / "config.yaml"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / "package"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder)  # not where the package lies


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with three data sets of 12 slides in batches of 4, after a whole run."""
    folder = tmp_path_factory.mktemp("reruns")
    for part in ("roformermil", "workflow", "envs"):
        shutil.copytree(ROOT / part, folder / "package" / part)
    shutil.copy(ROOT / "Snakefile", folder / "package")
    for name in SETS:
        write_demo(folder / name, 12)
    config = {
        "datasets": {
            name: {"slides": f"{name}/slides.csv", "root": name, "classes": ["separate", "mixed"]} for name in SETS
        },
        "encoder": {"name": "resnet50", "weights": "random", "compile": "never"},
        "tiles": {"size": 64, "mpp": 4.0},
        "folds": {"count": 3},
        "models": [{"name": "mean", "hidden_dim": 16}],
        "training": {"epochs": 1},
        "overhead": {"models": [{"name": "mean", "hidden_dim": 16}], "tiles": [50], "repeats": 2},
        "slides_per_batch": 4,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(folder)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


def planned(folder: Path) -> dict[str, int]:
    """Jobs that would run, by rule."""
    result = snakemake(folder, "-n")
    assert result.returncode == 0, result.stderr[-3000:]
    text = result.stdout + result.stderr
    if "Nothing to be done" in text:
        return {}
    lines = text.split("Job stats:")[1].split("total")[0].splitlines()[3:]
    jobs = {rule: int(count) for rule, count in (line.split() for line in lines if line.strip())}
    return {rule: count for rule, count in jobs.items() if rule != "all"}


def add_a_slide(folder):
    shutil.copy(folder / "one/demo_00.tif", folder / "one/new.tif")
    sheet = folder / "one/slides.csv"
    sheet.write_text(sheet.read_text() + "new,patient_new,mixed,new.tif\n")


def change_a_label(folder):
    sheet = folder / "one/slides.csv"
    sheet.write_text(sheet.read_text().replace("demo_00,patient_00,separate", "demo_00,patient_00,mixed"))


def replace_a_slide(folder):
    shutil.copy(folder / "one/demo_01.tif", folder / "one/demo_00.tif")


def touch_a_slide(folder):
    (folder / "one/demo_00.tif").touch()


def reorder_the_sheets_columns(folder):
    sheet = folder / "one/slides.csv"
    rows = [line.split(",") for line in sheet.read_text().splitlines()]
    sheet.write_text("".join(",".join([*row[1:], row[0]]) + "\n" for row in rows))


def edit_figures(folder):
    with (folder / "package/roformermil/studies/figures.py").open("a") as file:
        file.write("# another colour\n")


def edit_tables(folder):
    with (folder / "package/roformermil/evaluation/summary.py").open("a") as file:
        file.write("# another digit\n")


def config(**change):
    def edit(folder):
        values = yaml.safe_load((folder / "config.yaml").read_text())
        for key, value in change.items():
            values[key] = values.get(key, {}) | value if isinstance(value, dict) else value
        (folder / "config.yaml").write_text(yaml.safe_dump(values))

    return edit


OF_TILES = {"tile": 9, "embed": 9, "contact": 3, "collect": 3, "split": 3, "train": 9, "evaluate": 1}
CHANGES = {
    "nothing": (lambda folder: None, {}),
    "a slide is added": (add_a_slide, OF_ONE_SLIDE),
    "a slide is replaced by another": (replace_a_slide, OF_ONE_SLIDE),
    "a slide is touched": (touch_a_slide, {}),
    "a label": (change_a_label, {"split": 1, "train": 3, "evaluate": 1}),
    "the order of a sheet's columns": (reorder_the_sheets_columns, {}),
    "a tile setting": (config(tiles={"min_tissue": 0.5}), OF_TILES),
    "a tissue setting": (config(tissue={"threshold": 9}), {"segment": 9, **OF_TILES}),
    "the learning rate": (config(training={"learning_rate": 0.01}), {"train": 9, "evaluate": 1}),
    "one more model": (
        config(models=[{"name": "mean", "hidden_dim": 16}, {"name": "max", "hidden_dim": 16}]),
        {"train": 9, "evaluate": 1},
    ),
    "the failures allowed": (config(max_failed_fraction=0.5), {}),
    "a key of the ablation": (config(ablation={"scales": [2.0]}), {}),
    "the code of figures": (edit_figures, {"overhead": 1}),
    "the code of tables": (edit_tables, {"evaluate": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_what_depends_on_a_change_is_planned_and_nothing_else(done, tmp_path, change):
    edit, expected = CHANGES[change]
    folder = tmp_path / "copy"
    shutil.copytree(done, folder, symlinks=True)  # with its time stamps and Snakemake's records
    edit(folder)
    assert planned(folder) == expected


@pytest.mark.slow
def test_the_plan_touches_no_other_data_set(done, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    add_a_slide(folder)
    before = {path: path.stat().st_mtime_ns for name in SETS[1:] for path in (folder / "results" / name).rglob("*")}
    result = snakemake(folder)
    assert result.returncode == 0, result.stderr[-3000:]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    stores = folder / "results/one/features/resnet50-random"
    old = {path.name for path in (done / "results/one/features/resnet50-random").glob("*.zarr")}
    assert {path.name for path in stores.glob("*.zarr")} == {*old, "new.zarr"}
    for name in old:  # its batch ran again, and left what was current
        there = (stores / name / "zarr.json").stat().st_mtime
        assert there == (done / "results/one/features/resnet50-random" / name / "zarr.json").stat().st_mtime
