"""Covariates of the slide sheet, checked before the first job."""

from pathlib import Path

import pytest

from roformermil.check import check_plan
from roformermil.check.covariates import describe_covariate, odd_cells
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
    """found(covariates, external=(), stage="I", **settings): the problems of a slide sheet of six slides, and of an external one
    with these ages and this stage, other than those of their folds."""

    def write(name, rows):
        lines = [f"{name}{k},{patient},{'ab'[k % 2]},{name}{k}.svs,{age},{stage}" for k, (age, stage, patient) in rows]
        sheet = tmp_path / f"{name}.csv"
        sheet.write_text("\n".join(["slide_id,patient_id,label,path,age,stage", *lines]) + "\n")
        return {"slides": str(sheet), "root": str(tmp_path)}

    def check(covariates, external=(), stage="I", **settings):
        datasets = {"set": write("set", enumerate(ROWS)) | {"classes": ["a", "b"]}}
        if external:
            rows = enumerate((age, stage, f"q{k}") for k, age in enumerate(external))
            datasets["theirs"] = write("theirs", rows) | {"validates": "set"}
        given = {"datasets": datasets, "results": str(tmp_path / "results"), "covariates": covariates}
        config = read_settings(Config, given | {"encoder": {"weights": "random"}, **settings})
        sheets = {
            name: read_slide_sheet(Path(one["slides"]), tmp_path, ["a", "b"], check_files=False)
            for name, one in datasets.items()
        }
        problems = check_plan(config, sheets.__getitem__)
        return [f"{one.level}: {one.message}" for one in problems if "ovariate" in one.message]

    return check


def test_external_slides_may_lack_a_covariate_but_have_no_text_for_a_number(found):
    assert found(["age"], ["", ""])[1:] == ["info: covariate age: missing for 2 of 2 slides"]
    (wrong,) = [line for line in found(["age"], ["50", "old"]) if line.startswith("error")]
    assert wrong.startswith("error: not a number, as the covariate is for all training slides: theirs1: age 'old'")
    assert found(["stage"], ["50"])[2:] == ["info: covariate stage: categories I; missing for 0 of 1 slide"]
    *_, new = found(["stage"], ["50"], stage="IX")
    assert new == "warning: covariate stage has values that no slide of set has: IX; they count as no category"


def test_text_in_a_column_of_numbers_is_an_error_unless_these_are_a_few_codes():
    table = {f"s{k}": {"age": f"{50 + k}", "grade": f"{k % 3 + 1}"} for k in range(20)}
    table["s7"] |= {"age": "61 y", "grade": "X"}
    assert odd_cells("age", table) == ["s7 ('61 y')"] and odd_cells("grade", table) == []
    assert describe_covariate("grade", table) == "covariate grade: categories 1, 2, 3, X; missing for 0 of 20 slides"
    del table["s7"]
    assert odd_cells("age", table) == []


def test_what_is_missing_wrong_or_the_label_itself_is_told(found, tmp_path):
    assert found(["age"]) == ["info: covariate age: a number, 50 to 70; missing for 1 of 6 slides"]
    info, decides = found(["stage"])
    assert info == "info: covariate stage: categories I, II; missing for 0 of 6 slides"
    assert decides.startswith(
        "warning: covariate stage decides the label of every slide: is it the label under another"
    )
    (wrong,) = found(["ages"])
    assert wrong == f"error: {tmp_path}/set.csv: no column 'ages', a covariate: did you mean 'age'?"
    (differing,) = found(["age"], unit="patient", models=["covariates"])
    assert differing.startswith(
        "error: a patient is one bag and needs one value of each covariate, but slides differ: p4"
    )
