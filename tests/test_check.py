import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from roformermil.check import check_config, check_plan
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import records_from_sheet, write_slides_csv
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.errors import Status


@pytest.fixture
def folder(tmp_path):
    """A slide sheet, s0 to s5, six small slides of two classes, and s6, which is no slide."""
    rows = ["slide_id,patient_id,label,path"]
    for k in range(6):
        write_pyramid(tmp_path / f"s{k}.tif", np.random.default_rng(k).integers(0, 255, (200, 200, 3), np.uint8))
        rows.append(f"s{k},p{k},{'ab'[k % 2]},s{k}.tif")
    (tmp_path / "s6.tif").write_text("no slide")
    (tmp_path / "sheet.csv").write_text("\n".join([*rows, "s6,p6,a,s6.tif"]) + "\n")
    return tmp_path


def settings(folder, **changes):
    """A configuration of these slides that allows one of the seven to be lost."""
    dataset = {"slides": str(folder / "sheet.csv"), "root": str(folder), "classes": ["a", "b"]}
    defaults = {"datasets": {"set": dataset}, "folds": {"count": 3}, "encoder": {"weights": "random"}}
    return defaults | {"results": str(folder / "results"), "max_failed_fraction": 1 / 7} | changes


def problems(folder, level="error", **changes):
    """The messages of this level that the checks give."""
    config = read_settings(Config, settings(folder, **changes))
    return [str(problem) for problem in check_config(config, progress=False) if problem.level == level]


def plan(folder, **changes):
    config = read_settings(Config, settings(folder, **changes))
    return list(check_plan(config, lambda name: read_slide_sheet(folder / "sheet.csv", folder)))


def test_as_many_lost_slides_as_allowed_are_no_error_and_one_more_is(folder):
    assert problems(folder) == []
    assert problems(folder, "info") == ["set: 6 of 7 slides, 1 lost (1 unreadable); 6 patients in use"]
    one_more = ["set: 14% of its slides are lost, max_failed_fraction allows 10%"]
    assert problems(folder, max_failed_fraction=0.1) == one_more


def test_a_leak_is_an_error_unless_it_is_to_be_a_warning(folder):
    shutil.copy(folder / "s0.tif", folder / "s3.tif")
    (message,) = problems(folder)
    assert message.startswith("set: ") and "s0 = s3" in message
    assert problems(folder, leakage={"duplicates": "warn"}) == []


def test_mistakes_of_all_kinds_are_reported_together(folder):
    messages = problems(folder, encoder={"weights": "none.pth"}, folds={"count": 4})
    assert len(messages) == 2 and "encoder.weights: no file at /" in messages[0]
    assert messages[1].startswith("set: ") and "folds" in messages[1]


def test_slides_that_are_still_to_be_downloaded_are_a_warning(folder):
    (folder / "s2.tif").unlink()
    datasets = {"set": settings(folder)["datasets"]["set"] | {"source": {"kind": "gdc"}}}
    assert problems(folder, datasets=datasets) == []
    (warning,) = problems(folder, "warning", datasets=datasets)
    assert warning == "set: 1 of 7 slides are not downloaded yet: run `snakemake download`, then check again"


def test_missing_packages_and_what_may_be_a_mistake_are_warnings(folder):
    sheet = folder / "sheet.csv"
    sheet.write_text(sheet.read_text().replace("s1,p1", "s1,p0"))
    tiatoolbox, timm, patients = problems(folder, "warning", tissue={"method": "grandqc"}, encoder={"name": "uni"})
    assert tiatoolbox.startswith("tissue.method grandqc needs tiatoolbox") and timm.startswith("encoder uni needs timm")
    assert patients.startswith("set: patients with slides of several classes: p0")


def test_the_plan_warns_of_folds_that_cannot_be_made(folder):
    assert plan(folder) == []
    (problem,) = plan(folder, folds={"count": 10})
    assert problem.level == "warning" and problem.message.startswith("training will not be possible: ")


def test_the_plan_stops_at_slides_lost_in_an_earlier_run(folder):
    records = records_from_sheet(read_slide_sheet(folder / "sheet.csv", folder))
    (folder / "results/set").mkdir(parents=True)
    lost = [replace(record, status=Status.CRASHED) for record in records[:2]]
    write_slides_csv(folder / "results/set/slides.csv", [*lost, *records[2:]])
    (problem,) = plan(folder)
    assert problem.level == "error" and problem.dataset == "set" and "2 lost (2 crashed)" in problem.message


@pytest.mark.parametrize(("allowed", "status", "last"), [(1 / 7, 0, "no problem found"), (0.1, 1, "1 error to fix")])
def test_the_verb_prints_the_problems_and_its_exit_status_tells_errors(folder, allowed, status, last):
    (folder / "config.yaml").write_text(json.dumps(settings(folder, max_failed_fraction=allowed)))
    command = [sys.executable, "-m", "roformermil", "check", folder / "config.yaml"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == status
    assert "set: 6 of 7 slides" in result.stderr and last in result.stderr.splitlines()[-1]
