import json
import subprocess
import sys

import pytest

from tests.check.run import settings


def check(folder, *options, **changes):
    (folder / "config.yaml").write_text(json.dumps(settings(folder, **changes)))
    command = [sys.executable, "-m", "roformermil", "check", "config.yaml", *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize(
    ("allowed", "status", "last"),
    [(1 / 7, 0, "no error, but 2 warnings"), pytest.param(0.1, 1, "1 error to", marks=pytest.mark.slow)],
)
def test_the_verb_prints_table_and_problems_and_its_exit_status_tells_errors(folder, allowed, status, last):
    result = check(folder, "--no-measure", "--table", "slides.csv", max_failed_fraction=allowed)
    assert result.returncode == status and "set: 6 of 7 slides" in result.stderr
    assert [line.split()[0] for line in result.stdout.split("\n\n")[1].splitlines()][1:] == [f"s{k}" for k in range(7)]
    assert len((folder / "slides.csv").read_text().splitlines()) == 8
    assert f"a row for every slide is in {folder}/slides.csv" in result.stderr
    lines = result.stderr.splitlines()
    assert last in lines[-1 if status else -3]
    if not status:
        assert lines[-2].endswith("look at the tissue outlines next: roformermil run config.yaml tissue")
        assert lines[-1].endswith("then run everything: roformermil run config.yaml")


def test_slides_without_labels_can_be_encoded_but_not_trained_on(folder):
    rows = ["slide_id,path", *(f"s{k},s{k}.tif" for k in range(6))]
    (folder / "sheet.csv").write_text("\n".join(rows) + "\n")
    dataset = {"slides": "sheet.csv", "root": "."}
    result = check(folder, "--no-measure", datasets={"set": dataset})
    assert result.returncode == 0 and result.stderr.splitlines()[-1].endswith("run config.yaml features")
    assert "slides can be segmented and encoded (target `features`), but not trained on: no usable" in result.stderr
    place = f"set: slide sheet {folder}/sheet.csv ('sheet.csv' in {folder}, the folder in which this command runs)"
    assert f"{place}; its paths are relative to the root {folder} ('.' in {folder}" in result.stderr


@pytest.mark.slow
def test_hours_and_disk_are_told_after_a_measurement(folder):
    result = check(folder, models=["abmil"])
    estimate = result.stdout.split("A run from the beginning on this machine (")[1]
    assert [line.split()[0].strip(",") for line in estimate.splitlines()[2:6]] == [
        *("tissue", "encoding", "training", "disk")
    ]
    assert "resnet50 encodes" in estimate and "(generic-tiff)" in estimate and "3 trainings" in estimate
