"""The whole path, run by the real Snakemake: slides in, the table out, with five files among them that are no slides; then its report
in a real browser: offline, every category opened, every figure there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from roformermil.cohort.slide_files import changed_files
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import read_slide_table
from roformermil.cohort.synthetic import CLASSES, write_demo_slides
from roformermil.features.store import read_store
from tests.conftest import ROOT
from tests.workflow.browsing import make_report, open_category, opened, shown_image
from tests.workflow.running import COARSE, snakemake

BROKEN = {"cut": "unreadable", "empty": "empty_file", "text": "unreadable", "blank": "empty", "damaged": "read_failed"}
CATEGORIES = ["3 Figures", "5 Heat maps", "4 Models compared", "1 Overview", "2 Slides", "6 Tables"]
FIGURES = ["calibration", "confusion matrices", "ROC and precision-recall curves", "training curves"]
MOST = 15e6  # bytes


@pytest.fixture(scope="module")
def demo(tmp_path_factory, broken) -> Path:
    """A folder with the demo's 24 slides, five broken files, and config.yaml: the demo's own, with coarser tiles."""
    folder = tmp_path_factory.mktemp("demo")
    sheet = write_demo_slides(folder / "slides")
    with sheet.open("a") as file:
        for k, path in enumerate(sorted(broken.glob("*.*"))):
            if path.stem in BROKEN:
                shutil.copy(path, folder / "slides" / path.name)
                file.write(f"{path.stem},other_{k},{CLASSES[k % 2]},{path.name}\n")
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config["datasets"]["demo"] |= {"slides": str(sheet), "root": str(folder / "slides")}
    config |= {"tiles": COARSE, "slides_per_batch": 10, "max_failed_fraction": 0.2}
    config["folds"]["count"] = 3
    config["models"] = [model for model in config["models"] if model["name"] in ("abmil", "ro-abmil")]  # to save time
    config["training"] |= {"epochs": 60, "patience": 60}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def done(demo) -> Path:
    """The same folder after a run."""
    result = snakemake(demo, demo / "config.yaml")
    assert result.returncode == 0, result.stderr[-5000:]
    return demo


def test_every_bad_slide_is_a_row_and_the_others_finish(done):
    rows = {row.slide_id: row for row in read_slide_table(done / "results/demo/slides.csv")}
    assert len(rows) == 29
    assert {name: rows[name].status for name in BROKEN} == BROKEN
    assert all(rows[name].message for name in BROKEN)
    good = [row for row in rows.values() if row.slide_id not in BROKEN]
    assert all(row.status == "ok" and row.tiles > 5 and row.mpp == 0.5 for row in good)
    assert len(list((done / "results/demo/features/resnet50-random").glob("demo_*.zarr"))) == 24


def test_the_table_has_every_model_and_says_what_is_missing(done):
    text = (done / "results/summary.md").read_text()
    assert "- demo: 3 folds; 24 of 29 slides, 5 missing (1 empty, 1 empty_file, 1 read_failed, 2 unreadable)" in text
    assert "random encoder weights" in text
    summary = pd.read_csv(done / "results/summary.csv")
    assert list(summary.model.unique()) == ["abmil", "ro-abmil"]
    assert (summary.folds == 3).all()


def test_ro_abmil_tells_the_demos_classes_apart(done):
    summary = pd.read_csv(done / "results/summary.csv").set_index(["model", "metric"])
    assert summary.loc[("ro-abmil", "auroc"), "mean"] >= 0.9


def test_what_should_be_there_is_there(done):
    for name in ("log", "benchmark"):
        assert any((done / "results" / f"{name}s/demo").rglob("segment_0.*")), name
    assert (done / "results/demo/tissue/demo_00.jpg").exists()
    assert (done / "results/demo/tissue/demo_00.geojson").exists()
    model = done / "results/demo/resnet50-random/ro-abmil"
    assert len(list((model / "heatmaps").glob("demo_*.jpg"))) == 24
    assert (model / "model/model.json").exists() and not (model / "heatmaps/cut.jpg").exists()
    fold = model / "fold_0"
    assert {p.name for p in fold.iterdir()} == {"model.safetensors", "history.csv", "predictions.csv"}


def test_a_second_run_does_nothing(done):
    result = snakemake(done, done / "config.yaml")
    assert "Nothing to be done" in result.stderr + result.stdout


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tils": {"tile_px": 128}}, "tils: unknown key; did you mean `tiles`?"),
        (
            {"datasets": {"demo": {"slides": "no.csv", "root": ".", "classes": ["a", "b"]}}},
            "no.csv: there is no such slide sheet",
        ),
        ({"models": ["abmil"], "ablation": {}}, "nothing to compare: `models` needs a ro-abmil or ro-dsmil"),
    ],
)
def test_mistakes_are_named_before_the_first_job(demo, tmp_path, change, expected):
    config = yaml.safe_load((demo / "config.yaml").read_text()) | change
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(tmp_path, tmp_path / "config.yaml", "all", "ablation", "-n")
    assert result.returncode != 0
    assert expected in result.stderr + result.stdout


def test_too_many_bad_slides_stop_the_data_set(done, tmp_path):
    """By hand, with the command line of the rule `collect`."""
    tables = sorted((done / "results/demo/features/resnet50-random").glob("batch_*.csv"))
    command = [sys.executable, "-m", "roformermil", "collect", *tables, "--out", tmp_path / "demo/slides.csv"]
    result = subprocess.run([*command, "--max-failed-fraction", "0.05"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "demo: 24 of 29 slides, 5 missing" in result.stderr
    assert "cut: unreadable in segment" in result.stderr
    assert "raise max_failed_fraction" in result.stderr
    assert not (tmp_path / "demo/slides.csv").exists()


def test_exported_features_come_back_without_the_slides(done, tmp_path):
    """`export`, then a run on the .h5 files alone: the same bags, nothing segmented or encoded."""
    stores = sorted((done / "results/demo/features/resnet50-random").glob("demo_*.zarr"))
    command = [sys.executable, "-m", "roformermil", "export", *stores, "--out", tmp_path / "h5"]
    subprocess.run(command, check=True, capture_output=True)
    labels = {row.slide_id: row for row in read_slide_sheet(done / "slides/slides.csv", done / "slides")}
    lines = [f"{s.stem},{labels[s.stem].patient_id},{labels[s.stem].label},{s.stem}.h5" for s in stores]
    (tmp_path / "slides.csv").write_text("\n".join(["slide_id,patient_id,label,path", *lines]) + "\n")
    config = yaml.safe_load((done / "config.yaml").read_text())
    config["datasets"]["demo"] |= {"slides": str(tmp_path / "slides.csv"), "root": str(tmp_path / "h5")}
    config["encoder"] = {"name": "imported", "id": "theirs"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    result = snakemake(tmp_path, tmp_path / "config.yaml", "features")
    assert result.returncode == 0, result.stderr[-5000:]
    rows = read_slide_table(tmp_path / "results/demo/slides.csv")
    assert {(row.status, row.reader) for row in rows} == {("ok", "h5")}
    assert not (tmp_path / "results/demo/tissue").exists()
    (touched := Path(rows[0].path)).touch()
    assert changed_files([touched.as_posix()], tmp_path / "results/demo/features/theirs/batch_0.csv") == set()
    for store in stores:
        one, two = read_store(store), read_store(tmp_path / f"results/demo/features/theirs/{store.name}")
        for name in ("features", "coords", "grid"):
            assert np.array_equal(getattr(one, name), getattr(two, name))


@pytest.fixture(scope="module")
def report(done, tmp_path_factory):
    return make_report(done, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(report):
    with opened(report) as page:
        yield page


def test_it_is_small_and_opens_with_the_table_and_its_cautions(report, page):
    assert report.stat().st_size < MOST
    text = page.inner_text("body")
    assert "Read these numbers with care" in text and "random encoder weights" in text
    assert "5 of 29 slides are lost" in text and "ro-abmil" in text
    top = page.get_by_text("Read these numbers with care").bounding_box()
    assert top is not None and 0 <= top["y"] < 200, "seen without scrolling"
    assert [name for name in CATEGORIES if name not in text] == []


def test_every_figure_renders(page):
    for figure in FIGURES:
        open_category(page, "3 Figures")
        page.locator("tr", has_text=figure).locator("a").first.click()
        width, height = shown_image(page)
        assert width > 400 and height > 200, figure
    open_category(page, "2 Slides")
    page.locator("tr", has_text="demo").locator("a").first.click()
    sheet = page.frame_locator("iframe").locator("img")
    sheet.wait_for()
    assert sheet.evaluate("image => Math.min(image.naturalWidth, image.naturalHeight)") > 500
    open_category(page, "6 Tables")
    page.locator("tr", has_text="all of them").locator("a").first.click()
    tables = page.frame_locator("iframe").locator("body")
    tables.get_by_text("Expected calibration error").wait_for()
    assert "balanced_accuracy" in tables.inner_text() and "Read these numbers with care" in tables.inner_text()
    open_category(page, "4 Models compared")
    page.locator("tr", has_text="differences").locator("a").first.click()
    assert min(shown_image(page)) > 150


def test_heat_maps_are_there_and_say_whose_they_are(page):
    open_category(page, "5 Heat maps")
    page.locator("tr", has_text=re.compile("demo_.*, by ro-abmil")).first.locator("a").first.click()
    assert min(shown_image(page)) > 500


def test_captions_open(page):
    open_category(page, "6 Tables")
    page.locator("tr", has_text="comparisons.csv").locator("a").last.click()
    page.get_by_text("Every pair of models on the same folds").wait_for()


def test_nothing_is_asked_of_a_network_and_nothing_fails(page):
    for name in CATEGORIES:
        open_category(page, name)
    assert [url for url in page.asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.errors == []
