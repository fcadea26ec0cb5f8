"""Covariates in a slide sheet."""

import pytest

from roformermil.cohort.covariates import read_covariate_table, read_covariates, write_covariates
from roformermil.errors import SheetError

SHEET = "slide_id,path,age,Grade,note,Grade\ns1,a.svs,50,III,,I\ns2,b.svs,NA,unknown,,\ns3,c.svs, 61.5 ,II,,\n"


@pytest.fixture
def sheet(tmp_path):
    (tmp_path / "slides.csv").write_text(SHEET.replace(",Grade\n", ",x\n"))
    return tmp_path / "slides.csv"


def test_cells_are_text_by_slide_and_words_for_unknown_are_empty(sheet, tmp_path):
    table = read_covariates(sheet, ["Grade", "age"])
    assert table == {
        "s1": {"Grade": "III", "age": "50"},
        "s2": {"Grade": "", "age": ""},
        "s3": {"Grade": "II", "age": "61.5"},
    }
    assert list(read_covariates(sheet, ["age"], ["s3", "s1"])) == ["s3", "s1"]
    write_covariates(tmp_path / "covariates.csv", table, ["Grade", "age"])
    assert read_covariate_table(tmp_path / "covariates.csv") == table
    with pytest.raises(SheetError, match=r"none\.csv: not a table of covariates"):
        read_covariate_table(tmp_path / "none.csv")


def test_a_column_that_cannot_be_used_is_named_with_the_sheet_and_what_to_do(sheet):
    with pytest.raises(SheetError) as error:
        read_covariates(sheet, ["Age", "stage"])
    assert str(error.value).splitlines() == [
        f"{sheet}: no column 'Age', a covariate: did you mean 'age'?",
        f"{sheet}: no column 'stage', a covariate: add it (cells may be empty), or train without it",
    ]
    sheet.write_text(SHEET)
    with pytest.raises(SheetError, match="duplicate column 'Grade', a covariate"):
        read_covariates(sheet, ["Grade"])
