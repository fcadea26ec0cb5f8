"""Covariates of the slide sheet, checked before the first job."""

from pathlib import Path

import pytest

from roformermil.check import check_plan
from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.config import Config
from roformermil.config.base import read_settings

ROWS = [
    ("50", "I", "p0"),
    ("", "II", "p1"),
    ("61", "I", "p2"),
    ("70", "II", "p3"),
    ("55", "I", "p4"),
    ("56", "II", "p4"),
]


@pytest.fixture
def found(tmp_path):
    """found(covariates, **settings): the problems of a slide sheet of six slides, other than those of its folds."""

    def check(covariates, **settings):
        lines = [f"s{k},{patient},{'ab'[k % 2]},s{k}.svs,{age},{stage}" for k, (age, stage, patient) in enumerate(ROWS)]
        sheet = tmp_path / "sheet.csv"
        sheet.write_text("\n".join(["slide_id,patient_id,label,path,age,stage", *lines]) + "\n")
        dataset = {"slides": str(sheet), "root": str(tmp_path), "classes": ["a", "b"]}
        given = {"datasets": {"set": dataset}, "results": str(tmp_path / "results"), "covariates": covariates}
        config = read_settings(Config, given | {"encoder": {"weights": "random"}, **settings})
        read = read_slide_sheet(Path(sheet), tmp_path, ["a", "b"], check_files=False)
        problems = check_plan(config, lambda name: read)
        return [f"{one.level}: {one.message}" for one in problems if "ovariate" in one.message]

    return check


def test_what_is_missing_wrong_or_the_label_itself_is_told(found, tmp_path):
    assert found(["age"]) == ["info: covariate age is missing for 1 of 6 slides"]
    (decides,) = found(["stage"])
    assert decides.startswith(
        "warning: covariate stage decides the label of every slide: is it the label under another"
    )
    (wrong,) = found(["ages"])
    assert wrong == f"error: {tmp_path}/sheet.csv: no column 'ages', a covariate: did you mean 'age'?"
    (differing,) = found(["age"], unit="patient", models=["covariates"])
    assert differing.startswith("error: unit: patient needs one value of a covariate per patient") and "p4" in differing
