"""Failures that may have passed: the next run tries those slides again, and trains again only where something changed."""

import shutil
from pathlib import Path

import pytest
import yaml

from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import CLASSES, write_demo_slides
from tests import ROOT
from tests.workflow.running import change_config, planned_jobs, run_workflow, snakemake

pytestmark = pytest.mark.slow

FAILURES = """

def fails_while(file, status, work):
    def work_or_fail(record, *arguments):
        if (marker := Path(f"{file}_{record.slide_id}")).exists():
            import resource
            with marker.open("a") as limits:
                print(resource.getrlimit(resource.RLIMIT_DATA)[0] // 10**6, file=limits)
            raise SlideError(Status(status), f"no answer from {record.path.name}")
        return work(record, *arguments)
    work_or_fail.__module__, work_or_fail.__qualname__ = __name__, work.__name__
    return work_or_fail

segment_slide = fails_while("segment", "out_of_memory", segment_slide)
tile_slide = fails_while("tile", "crashed", tile_slide)
"""
FOLD = "results/one/resnet50-random/mean/fold_0"
TABLES = [f"results/one/{folder}/batch_{k}.csv" for folder in ("tissue", "tiles") for k in (0, 1)]


@pytest.fixture
def folder(tmp_path):
    """Twelve slides in two batches, of which demo_00 takes too much memory in `segment` and demo_10 crashes `tile` as long
    as there are files of those names; in these are the limits of memory at each try, in MB."""
    for part in ("roformermil", "workflow", "envs"):
        shutil.copytree(ROOT / part, tmp_path / "checkout" / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", tmp_path / "checkout")
    with (tmp_path / "checkout/roformermil/slides/steps.py").open("a") as file:
        file.write(FAILURES)
    write_demo_slides(tmp_path / "one", 12)
    dataset = {"slides": "one/slides.csv", "root": "one", "classes": list(CLASSES)}
    config = {
        "datasets": {"one": dataset},
        "slides_per_batch": 8,
        "folds": {"count": 3},
        "training": {"epochs": 1},
        "encoder": {"name": "resnet50", "weights": "random", "compile": "never"},
        "tiles": {"tile_px": 64, "target_mpp": 4.0},
        "models": [{"name": "mean", "hidden_dim": 16}],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "segment_demo_00").touch()
    (tmp_path / "tile_demo_10").touch()
    return tmp_path


def test_slides_are_tried_again_and_models_trained_again_only_where_a_slide_came_back(folder):
    target = f"{FOLD}/model.safetensors"
    result = snakemake(folder, folder / "config.yaml", target, checkout=folder / "checkout")
    text = result.stdout + result.stderr
    assert result.returncode and "demo_00: out_of_memory: " in text and "column exclude" in text
    assert not (folder / "results/one/features").exists(), "too many failed: nothing is encoded"
    assert len(read_slide_table(folder / "results/one/slides_failed.csv")) == 12

    change_config(folder, max_failed_fraction=0.5)
    run(folder, target)
    assert statuses(folder) == {"demo_00": "out_of_memory", "demo_10": "crashed"}
    limits = map(int, (folder / "segment_demo_00").read_text().split())
    for limit, part in zip(limits, (900, 1800, 2050, 4100), strict=True):  # two threads share 2.3 GB, then 4.6 GB
        assert 0 <= limit - part < 600
    slides, times = (folder / "results/one/slides.csv").read_bytes(), modified(folder, target, *TABLES)

    plan = snakemake(folder, folder / "config.yaml", target, "-n", checkout=folder / "checkout")
    jobs = planned_jobs(plan)
    assert (jobs["segment"], jobs["tile"], jobs["embed"]) == (1, 2, 2)
    assert "demo_00: tried again, since it was out_of_memory" in plan.stdout + plan.stderr

    run(folder, target)  # ends as before
    assert (folder / "results/one/slides.csv").read_bytes() == slides
    again = modified(folder, target, *TABLES)
    assert [name for name in again if again[name] != times[name]] == [TABLES[0], *TABLES[2:]]

    (folder / "segment_demo_00").unlink()
    run(folder, target)
    assert statuses(folder) == {"demo_10": "crashed"}
    assert modified(folder, target) != {target: times[target]}, "its model is trained with the slide that came back"


def run(folder, target):
    run_workflow(folder, target, checkout=folder / "checkout")


def statuses(folder):
    records = read_slide_table(folder / "results/one/slides.csv")
    return {record.slide_id: record.status for record in records if not record.is_ok}


def modified(folder: Path, *names: str) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in names}
