"""A whole run by Snakemake, on slides of which five are broken; then its report in a real browser, without a network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.cohort.batches import divide_into_batches
from roformermil.cohort.outdated import reasons_to_repeat
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import read_slide_table
from roformermil.features.store import read_store
from tests import ROOT
from tests.workflow.browsing import make_report, open_category, open_entry, open_page, open_report
from tests.workflow.running import COARSE_TILES, change_config, run_workflow, snakemake, write_demo

BROKEN = {"cut": "unreadable", "empty": "empty_file", "text": "unreadable", "blank": "empty", "damaged": "read_failed"}
CATEGORIES = ["1 Tables", "2 Provenance"]
MAX_REPORT_BYTES = 15e6
MISTAKES = [
    ({"tils": {"tile_px": 128}}, "tils: unknown key; did you mean `tiles`?"),
    ({"datasets": {"x": {"slides": "no.csv", "root": ".", "classes": ["a", "b"]}}}, "no.csv: no such slide sheet"),
    ({"models": ["abmil"], "ablation": {}}, "nothing to compare: `models` needs a ro-abmil or ro-dsmil"),
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, broken) -> Path:
    """A folder with the demo's 24 slides, five broken files, and config.yaml: the demo's own, with coarser tiles."""
    folder = tmp_path_factory.mktemp("demo")
    unusable = [path for path in sorted(broken.glob("*.*")) if path.stem in BROKEN]
    sections = {"slides_per_batch": 20, "max_failed_fraction": 0.2, "folds": {"count": 3}}  # two batches
    sections["models"] = [{"name": "mean-linear"}, {"name": "ro-abmil", "hidden_dim": 128, "attention_dim": 64}]
    write_demo(folder, unusable=unusable, tiles=COARSE_TILES, **sections)
    return folder


@pytest.fixture(scope="module")
def finished(demo) -> Path:
    """The same folder after a run."""
    run_workflow(demo)
    return demo


def test_broken_slides_are_recorded_and_logged_and_the_others_finish(finished):
    records = {record.slide_id: record for record in read_slide_table(finished / "results/demo/slides.csv")}
    assert len(records) == 29 and {name: records[name].status for name in BROKEN} == BROKEN
    assert all(records[name].message for name in BROKEN)
    good = [record for record in records.values() if record.slide_id not in BROKEN]
    assert all(record.is_ok and record.tiles > 5 and record.mpp == 0.5 for record in good)
    assert len(list((finished / "results/demo/features/resnet50-random").glob("demo_*.zarr"))) == 24
    log = "".join(path.read_text() for path in (finished / ".snakemake/log").glob("*.log"))
    assert re.search(r"demo/segment_[01]+: cut: unreadable", log), "warnings of jobs are in the log of the run"


def test_the_summary_counts_lost_slides_and_has_every_model_of_which_ro_abmil_separates_the_demos_classes(finished):
    text = (finished / "results/summary.md").read_text()
    assert "- demo: 3 folds; 24 of 29 slides, 5 lost (1 empty, 1 empty_file, 1 read_failed, 2 unreadable)" in text
    assert "random encoder weights" in text
    summary = pd.read_csv(finished / "results/summary.csv")
    assert list(summary.model.unique()) == ["mean-linear", "ro-abmil"] and (summary.folds == 3).all()
    areas = summary[summary.metric == "auroc"].set_index("model")
    assert areas.loc["ro-abmil", "mean"] >= 0.9 and abs(areas.loc["mean-linear", "mean"] - 0.5) < 0.2
    assert areas.loc["ro-abmil", "shuffled"] < 0.7 and np.isnan(areas.loc["mean-linear", "shuffled"])
    assert re.search(
        r"- demo, ro-abmil: Shuffling tile positions lowers AUROC by 0\.\d\d .*: this model uses position", text
    )


def test_every_kind_of_result_is_written(finished):
    for name in ("log", "benchmark"):
        assert any((finished / "results" / f"{name}s/demo").rglob("segment_*")), name
    assert (finished / "results/demo/tissue/demo_00.jpg").exists()
    assert (finished / "results/demo/tissue/demo_00.geojson").exists()
    model = finished / "results/demo/resnet50-random/ro-abmil"
    assert len(list((model / "heatmaps").glob("demo_*.jpg"))) == 24
    assert (model / "model/model.json").exists() and not (model / "heatmaps/cut.jpg").exists()
    files = {path.name for path in (model / "fold_0").iterdir()}
    assert files == {"model.safetensors", "history.csv", "predictions.csv", "shuffled.csv"}


@pytest.mark.parametrize("profile", [[], ["--workflow-profile", str(ROOT / "workflow/profiles/slurm")]])
def test_a_second_run_has_nothing_to_do_here_or_on_a_cluster(finished, profile):
    result = snakemake(finished, finished / "config.yaml", *profile)
    assert "Nothing to be done" in result.stderr + result.stdout


@pytest.mark.parametrize(("change", "expected"), MISTAKES)
def test_mistakes_are_reported_before_the_first_job(demo, tmp_path, change, expected):
    shutil.copy(demo / "config.yaml", tmp_path)
    change_config(tmp_path, **change)
    result = snakemake(tmp_path, tmp_path / "config.yaml", "all", "ablation", "-n")
    assert result.returncode != 0 and expected in result.stderr + result.stdout


def test_a_data_set_with_too_many_lost_slides_stops(finished, tmp_path):
    tables = sorted((finished / "results/demo/features/resnet50-random").glob("batch_*.csv"))
    command = [sys.executable, "-m", "roformermil", "collect", *tables, "--out", tmp_path / "demo/slides.csv"]
    result = subprocess.run([*command, "--max-failed-fraction", "0.05"], capture_output=True, text=True)
    assert result.returncode == 1
    for text in ("demo: 24 of 29 slides, 5 lost", "cut: unreadable in segment", "raise max_failed_fraction"):
        assert text in result.stderr
    assert not (tmp_path / "demo/slides.csv").exists()


def test_exported_features_are_imported_unchanged_without_the_slides(finished, tmp_path):
    stores = sorted((finished / "results/demo/features/resnet50-random").glob("demo_*.zarr"))
    command = [sys.executable, "-m", "roformermil", "export", *stores, "--out", tmp_path / "h5"]
    subprocess.run(command, check=True, capture_output=True)
    sheet = pd.read_csv(finished / "slides/slides.csv").query("slide_id.str.startswith('demo_')")
    sheet.assign(path=sheet.slide_id + ".h5").to_csv(tmp_path / "slides.csv", index=False)
    config = yaml.safe_load((finished / "config.yaml").read_text())
    config["datasets"]["demo"] |= {"slides": str(tmp_path / "slides.csv"), "root": str(tmp_path / "h5")}
    config["encoder"] = {"name": "imported", "id": "theirs"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run_workflow(tmp_path, "features")
    records = read_slide_table(tmp_path / "results/demo/slides.csv")
    assert {(record.status, record.reader) for record in records} == {("ok", "h5")}
    assert not (tmp_path / "results/demo/tissue").exists()
    records[0].path.touch()
    listed = read_slide_sheet(tmp_path / "slides.csv", tmp_path / "h5")
    for name, batch in divide_into_batches(listed, config["slides_per_batch"]).items():
        table = tmp_path / f"results/demo/features/theirs/batch_{name}.csv"
        assert not list(reasons_to_repeat(table, "import", slides=batch.slides)), "touched, not changed"
    for store in stores:
        one, two = read_store(store), read_store(tmp_path / f"results/demo/features/theirs/{store.name}")
        for name in ("features", "coords", "grid"):
            assert np.array_equal(getattr(one, name), getattr(two, name))


def test_the_report_opens_with_the_table_and_has_every_plot_heat_map_and_lost_slide(finished):
    report = finished / "results/report.html"
    assert report.stat().st_size < MAX_REPORT_BYTES
    with open_page(report) as page:
        text = page.inner_text("body")
        assert page.inner_text("h1") == "demo" and "random encoder weights" in text
        assert "5 of 29 slides are lost" in text and "Shuffling tile positions" in text
        captions = page.locator("figcaption")
        titles = {captions.nth(k).inner_text().split(".")[0] for k in range(captions.count())}
        assert titles > {"ROC and precision-recall curves", "Confusion matrices", "Learning curves"}
        assert titles > {"Differences in AUROC", "Tissue outlines of demo"}
        assert page.locator("#heatmaps img").count() >= 2
        assert page.locator("#slides .slides").first.locator("tbody tr").count() == len(BROKEN)
        assert page.errors == []


@pytest.fixture(scope="module")
def snakemake_report(finished, tmp_path_factory):
    return make_report(finished, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(snakemake_report):
    with open_report(snakemake_report) as page:
        yield page


def test_snakemakes_report_contains_the_tables_and_names_the_page(page):
    assert "report.html" in page.inner_text("body")
    open_category(page, "1 Tables")
    open_entry(page, "comparisons.csv", "last")
    page.get_by_text("Every pair of models on the same folds").wait_for()


def test_snakemakes_report_needs_no_network_and_has_no_errors(page):
    for name in CATEGORIES:
        open_category(page, name)
    assert [url for url in page.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.errors == []
