import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import requests

from roformermil.check import check_config, check_dataset, check_plan, check_weights
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.slide_table import records_from_sheet, write_slides_csv
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Config
from roformermil.config.base import read_settings
from roformermil.errors import Status
from tests.tissue_drawing import draw_tissue


@pytest.fixture(scope="session")
def pyramids(tmp_path_factory):
    """Six small slides, s0.tif to s5.tif, of tissue with glass around it."""
    folder = tmp_path_factory.mktemp("pyramids")
    for k in range(6):
        tissue = draw_tissue(np.random.default_rng(k), 700, 600)
        image = np.pad(tissue, ((200, 200), (200, 200), (0, 0)), constant_values=243)
        write_pyramid(folder / f"s{k}.tif", image)
    return folder


@pytest.fixture
def folder(tmp_path, pyramids):
    """A slide sheet, s0 to s5, six small slides of two classes, and s6, which is no slide."""
    shutil.copytree(pyramids, tmp_path, dirs_exist_ok=True)
    (tmp_path / "s6.tif").write_text("no slide")
    rows = [f"s{k},p{k},{'ab'[k % 2]},s{k}.tif" for k in range(6)]
    (tmp_path / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows, "s6,p6,a,s6.tif"]) + "\n")
    return tmp_path


def settings(folder, **changes):
    """A configuration of these slides that allows one of the seven to be lost."""
    dataset = {"slides": str(folder / "sheet.csv"), "root": str(folder), "classes": ["a", "b"]}
    defaults = {"datasets": {"set": dataset}, "folds": {"count": 3}, "encoder": {"weights": "random"}}
    return defaults | {"results": str(folder / "results"), "max_failed_fraction": 1 / 7} | changes


def edit(folder, *changes):
    """Replace texts of the slide sheet, each given with what replaces it."""
    text = (folder / "sheet.csv").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "sheet.csv").write_text(text)


def problems(folder, level="error", **changes):
    """The messages of this level that the checks give."""
    config = read_settings(Config, settings(folder, **changes))
    return [str(problem) for problem in check_config(config, progress=False) if problem.level == level]


def plan(folder, **changes):
    config = read_settings(Config, settings(folder, **changes))
    return list(check_plan(config, lambda name: read_slide_sheet(folder / "sheet.csv", folder)))


def test_as_many_lost_slides_as_allowed_are_no_error_and_one_more_is(folder):
    assert problems(folder) == []
    assert problems(folder, "info") == ["set: 6 of 7 slides, 1 lost (1 unreadable); 6 patients in use (a: 3, b: 3)"]
    (one_more,) = problems(folder, max_failed_fraction=0.1)
    assert one_more.startswith("set: 14% of its slides are lost, max_failed_fraction allows 10%. Repair these slides, ")


def test_every_slide_that_cannot_be_used_is_named_with_the_reason(folder):
    edit(folder, ("label,path", "label,path,mpp,exclude"), ("s6.tif", "s6.tif,,"), ("s0.tif", "s0.tif,1.0,"))
    edit(folder, ("s1.tif", "s1.tif,,duplicate"), *((f"s{k}.tif", f"s{k}.tif,,") for k in range(2, 6)))
    coarse, unreadable = problems(folder, "warning", max_failed_fraction=0.5)
    assert coarse.startswith("set: s0: too_coarse: ") and "1 um/px, as given (slide sheet: column mpp" in coarse
    assert coarse.endswith("Correct its column mpp, or leave it empty to use the file's own")
    assert unreadable.startswith(f"set: s6: unreadable: {folder}/s6.tif")
    (info,) = problems(folder, "info", max_failed_fraction=0.5)
    usable = "set: 4 of 7 slides, 1 excluded by the slide sheet, 2 lost (1 too_coarse, 1 unreadable)"
    assert info == f"{usable}; 4 patients in use (a: 2, b: 2)"


def test_one_oddity_of_several_slides_is_one_warning(folder):
    """Scans that are cropped to tissue, of dark grains of 8 um."""
    for k in (2, 3):
        grains = np.random.default_rng(k).normal((165, 85, 135), 12, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        write_pyramid(folder / f"s{k}.tif", grains.repeat(16, axis=0).repeat(16, axis=1))
    merged = [line for line in problems(folder, "warning", max_failed_fraction=0.5) if "tissue" in line]
    assert len(merged) == 1 and merged[0].startswith("set: s2: 100% of the scan is tissue: ")
    assert merged[0].endswith("Likewise s3")


def test_a_leak_is_an_error_unless_it_is_to_be_a_warning(folder):
    shutil.copy(folder / "s0.tif", folder / "s3.tif")
    (message,) = problems(folder)
    assert message.startswith("set: ") and "with two labels: s0 (a) = s3 (b)" in message
    assert problems(folder, leakage={"duplicates": "warn"}) == []
    assert "s0 (a) = s3 (b)" in problems(folder, "warning", leakage={"duplicates": "warn"})[-1]


def test_mistakes_of_all_kinds_are_reported_together(folder):
    edit(folder, ("s4,p4,a", "s4,p4,A"), ("s5.tif", "s7.tif"))
    settings = {"encoder": {"weights": "none.pth"}, "max_failed_fraction": 0.2}
    messages = problems(folder, **settings)
    assert len(messages) == 3 and "encoder.weights: no file at /" in messages[0]
    assert (
        f"{folder}/sheet.csv, row 6: slide 's4' has label 'A'; expected one of a, b; did you mean 'a'?" in messages[1]
    )
    assert f"row 7: slide 's5': no file at {folder}/s7.tif" in messages[2]
    info, folds = problems(folder, "info", **settings)
    assert info.startswith("set: without the rows above: 4 of 5 slides, 1 lost (1 unreadable)")
    assert "cannot be judged before the rows above are corrected" in folds


def test_a_sheet_that_cannot_be_read_and_a_wrong_root_are_one_error_a_mistake(folder):
    (sheet := folder / "sheet.csv").write_text(sheet.read_text().replace("patient_id", "patient"))
    (message,) = problems(folder)
    assert message.startswith(f"set: {sheet}: no column 'patient_id': is it your column 'patient'?")
    edit(folder, ("patient", "patient_id"))
    datasets = {"set": settings(folder)["datasets"]["set"] | {"root": "/nowhere"}}
    assert problems(folder, datasets=datasets) == [f"set: {sheet}: the data set's root is not a folder: /nowhere"]


def test_long_lists_are_cut_but_every_mistake_counts(folder):
    rows = [f"x{k},q{k},c,s0.tif" for k in range(8)]  # an unknown class; all but the first also another's file
    (folder / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows]) + "\n")
    found = list(check_dataset(read_settings(Config, settings(folder)), "set", progress=False))
    errors = [problem for problem in found if problem.level == "error"]
    assert len(errors) == 11 and sum(problem.count for problem in errors) == 8 + 7
    assert str(errors[-1]) == "set: and 5 more like these"


def test_each_kind_of_mistake_is_shown_however_many_there_are_of_another(folder):
    rows = [*(f"x{k},q{k},c,x{k}.tif" for k in range(20)), "y,,a,s1.tif"]
    (folder / "sheet.csv").write_text("\n".join(["slide_id,patient_id,label,path", *rows]) + "\n")
    messages = problems(folder)
    assert len(messages) == 11 and messages[-1] == "set: and 31 more like these"
    for kind, count in {"label 'c'": 5, "no file at": 4, "'y' has no patient_id": 1}.items():
        assert sum(kind in message for message in messages) == count


def test_few_test_patients_are_a_warning_before_anything_is_computed(folder):
    few = "set: 1.0 test patients of class a per fold: with so few patients AUROC is coarse"
    assert problems(folder, "warning")[-1].startswith(few)


def test_tissue_settings_of_a_slide_that_do_not_fit_are_named(folder):
    edit(folder, ("label,path", "label,path,tissue"), *((f"s{k}.tif", f"s{k}.tif,") for k in range(6)))
    edit(folder, ("s6.tif", "s6.tif,threshold: 4"))
    (message,) = problems(folder, tissue={"method": "otsu"}, folds={"count": 3})
    assert message.startswith("set: slide s6, column tissue of the slide sheet: ") and "threshold" in message


def test_weights_that_cannot_be_downloaded_or_loaded_are_errors(folder, monkeypatch):
    def no_network(url, **options):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "head", no_network)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(folder / "hub"))
    (message,) = check_weights(read_settings(Config, settings(folder, encoder={})))
    file = "resnet50-0676ba61.pth"
    assert f"encoder.weights: imagenet is not downloaded yet, and https://download.pytorch.org/models/{file}" in str(
        message
    )
    assert f"cannot be reached (ConnectionError): put that file at {folder}/hub/checkpoints/{file}" in str(message)
    monkeypatch.setattr(requests, "head", lambda url, **options: Mock())
    assert list(check_weights(read_settings(Config, settings(folder, encoder={})))) == []
    (message,) = check_weights(read_settings(Config, settings(folder, encoder={"weights": str(folder / "s6.tif")})))
    assert "s6.tif is neither a torch state dict nor a .safetensors file" in str(message)


def test_slides_that_are_still_to_be_downloaded_are_a_warning_and_the_others_are_checked(folder):
    (folder / "s2.tif").unlink()
    datasets = {"set": settings(folder)["datasets"]["set"] | {"source": {"kind": "gdc"}}}
    assert problems(folder, datasets=datasets, max_failed_fraction=0.5) == []
    absent, unreadable, *_ = problems(folder, "warning", datasets=datasets, max_failed_fraction=0.5)
    assert absent == "set: 1 of 7 slides are not downloaded yet: run `snakemake download`, then check again"
    assert unreadable.startswith("set: s6: unreadable")
    (few,) = problems(folder, datasets=datasets, max_failed_fraction=0.5, folds={"count": 4})
    assert "class b has 3 patients" in few


def test_missing_packages_and_what_may_be_a_mistake_are_warnings(folder):
    edit(folder, ("s1,p1", "s1,p0"), ("s3,p3", "s3,P-03"), ("s5,p5", "s5,p_3"), ("s6,p6,a,s6.tif\n", ""))
    tiatoolbox, timm, patients, alike, *_ = problems(
        folder, "warning", tissue={"method": "grandqc"}, encoder={"name": "uni"}
    )
    assert tiatoolbox.startswith("tissue.method grandqc needs tiatoolbox") and timm.startswith("encoder uni needs timm")
    assert patients.startswith("set: patients with slides of several classes: p0")
    assert alike.startswith("set: these look like one patient each: P-03 / p_3.")


def test_imported_features_are_read_instead_of_slides(folder):
    edit(folder, ("s0.tif", "s0.h5"), *((f"s{k},p{k},{'ab'[k % 2]},s{k}.tif\n", "") for k in range(1, 6)))
    (folder / "s0.h5").write_text("not HDF5")
    lost = problems(folder, "warning", encoder={"name": "imported"}, max_failed_fraction=1)
    assert [line.split(": ")[:3] for line in lost] == [["set", "s0", "unreadable"], ["set", "s6", "unreadable"]]


def test_the_plan_warns_of_folds_that_cannot_be_made(folder):
    assert plan(folder) == []
    (problem,) = plan(folder, folds={"count": 10})
    assert problem.level == "warning" and problem.message.startswith("training will not be possible: ")
    edit(folder, ("s5,p5", "s5,P3"))
    (problem,) = plan(folder, folds={"count": 3})
    assert problem.level == "warning" and "these look like one patient each: P3 / p3" in problem.message


def test_the_plan_stops_at_files_that_the_configuration_names_but_do_not_exist(folder):
    found = plan(folder, encoder={"weights": str(folder / "{x}.pth")}, folds={"path": "{dataset}/{y}.csv", "count": 3})
    assert [str(problem) for problem in found if problem.level == "error"] == [
        f"encoder.weights: no file at {folder}/{{x}}.pth",
        f"folds.path: no file at {Path.cwd()}/set/{{y}}.csv",
    ]


def test_the_plan_reports_the_mistakes_of_all_sheets(folder):
    edit(folder, ("s1,p1", "s0,p1"), ("s3,p3", "s2,p3"))
    datasets = {name: settings(folder)["datasets"]["set"] for name in ("one", "two")}
    found = [
        (problem.dataset, problem.level, problem.message.count("duplicate"))
        for problem in plan(folder, datasets=datasets)
    ]
    assert found == [("one", "error", 2), ("two", "error", 2)]


def test_the_plan_stops_at_slides_lost_in_an_earlier_run(folder):
    records = records_from_sheet(read_slide_sheet(folder / "sheet.csv", folder))
    (folder / "results/set").mkdir(parents=True)
    lost = [replace(record, status=Status.CRASHED) for record in records[:2]]
    write_slides_csv(folder / "results/set/slides.csv", [*lost, *records[2:]])
    (problem,) = plan(folder)
    assert problem.level == "error" and problem.dataset == "set" and "2 lost (2 crashed)" in problem.message


@pytest.mark.parametrize(
    ("allowed", "status", "last"), [(1 / 7, 0, "no error, but 2 warnings"), (0.1, 1, "1 error to")]
)
def test_the_verb_prints_the_problems_and_its_exit_status_tells_errors(folder, allowed, status, last):
    (folder / "config.yaml").write_text(json.dumps(settings(folder, max_failed_fraction=allowed)))
    command = [sys.executable, "-m", "roformermil", "check", "config.yaml"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert result.returncode == status
    assert status or result.stderr.endswith(f"--configfile {folder}/config.yaml\n")
    assert "set: 6 of 7 slides" in result.stderr and last in result.stderr.splitlines()[-1]
