"""The paper's three cohorts: their sheets are those that the committed script writes, with all their slides."""

from collections import Counter

import pytest
import yaml

from roformermil.bags.folds import assign_folds
from roformermil.cohort.slide_sheet import read_slide_sheet, sheet_warnings
from roformermil.config import load_config
from tests import ROOT
from tests.cohort.scripts import load_script
from tests.workflow.running import planned_jobs, snakemake

CONFIG = load_config(ROOT / "config/paper.yaml")
COUNTS = {
    "tcga_nsclc": (1053, 956, {"LUAD": 541, "LUSC": 512}),
    "camelyon16": (399, 399, {"normal": 239, "tumor": 160}),
    "bracs": (547, 547, {"benign": 265, "atypical": 89, "malignant": 193}),
}


def slides_of(name):
    dataset = CONFIG.datasets[name]
    return read_slide_sheet(ROOT / dataset.slides, dataset.root, dataset.classes, check_files=False)


@pytest.mark.parametrize("name", COUNTS)
def test_slides_patients_and_labels(name):
    slides = [slide for slide in slides_of(name) if not slide.exclude]
    patients, labels = {slide.patient_id for slide in slides}, Counter(slide.label for slide in slides)
    assert (len(slides), len(patients), labels) == COUNTS[name]
    assert sheet_warnings(slides) == []


def test_the_bad_slides_of_camelyon16_are_excluded_by_name():
    excluded = {slide.slide_id: slide.exclude for slide in slides_of("camelyon16") if slide.exclude}
    assert set(excluded) == {"normal_086", "test_049"} and "mislabelled" in excluded["normal_086"]


def test_hipts_folds_are_used_by_following_the_comment_in_the_papers_configuration(tmp_path):
    text = (ROOT / "config/paper.yaml").read_text().replace("  mode: paper ", "  # mode: paper ")
    for line in ("path: config/datasets/tcga_nsclc_hipt_folds.csv", "group_by_patient: false"):
        assert f"  # {line}" in text
        text = text.replace(f"  # {line}", f"  {line}")
    config = yaml.safe_load(text)
    config["datasets"] = {"tcga_nsclc": config["datasets"]["tcga_nsclc"]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    settings = load_config(tmp_path / "config.yaml").folds
    settings = settings.model_copy(update={"path": str(ROOT / settings.path)})
    rows = assign_folds("tcga_nsclc", slides_of("tcga_nsclc"), settings, ["LUAD", "LUSC"])
    sizes = Counter({"train": 847, "validation": 93, "test": 93})
    assert [Counter(row.part for row in rows if row.fold == fold) for fold in range(11)] == [sizes] * 10 + [Counter()]


@pytest.mark.shared
def test_the_script_writes_these_sheets(shared, tmp_path):
    cohorts = load_script("cohorts")
    cohorts.write_tables(shared / "manifests", tmp_path)
    for name in cohorts.TABLES:
        assert (ROOT / "config/datasets" / name).read_text() == (tmp_path / name).read_text()


@pytest.mark.slow
def test_the_whole_paper_can_be_planned_without_a_slide(tmp_path):
    config = yaml.safe_load((ROOT / "config/paper.yaml").read_text())
    for dataset in config["datasets"].values():
        dataset["slides"] = str(ROOT / dataset["slides"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    jobs = planned_jobs(snakemake(tmp_path, tmp_path / "config.yaml", "-n", "--quiet", "rules"))
    assert 2001 / 25 < jobs["segment"] < 1.6 * 2001 / 25
    assert jobs["list_slides"] == jobs["download_batch"] == jobs["segment"] == jobs["embed"]
    assert jobs["train"] == 3 * 10 * len(config["models"])
