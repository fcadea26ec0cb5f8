"""What an external data set may not share with the one that its models were trained on."""

from pathlib import Path

import pytest

from roformermil.bags.leakage import read_findings
from roformermil.bags.split import reasons_to_split_again, split_slides
from roformermil.cohort.covariates import read_covariate_table
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord, write_slides_csv
from roformermil.config import Folds, Leakage
from roformermil.errors import BagError, LeakError

CLASSES = ["a", "b"]


def write(data: Path, patients: str, contents: str, leakage=None, trained=None, labels=None, ages=(), folds=None):
    """Write slides.csv and folds.csv: a slide per letter of `patients`, whose file has the content of the same letter.
    ages: a covariate of the slides."""
    slides = [
        Slide(f"s{k}", patient, (labels or "ab" * len(patients))[k].strip(), data / f"s{k}.svs", None)
        for k, patient in enumerate(patients)
    ]
    records = [
        SlideRecord(one.slide_id, one.path, content=content) for one, content in zip(slides, contents, strict=True)
    ]
    write_slides_csv(data / "slides.csv", records)
    settings, out = leakage or Leakage(), data / "folds.csv"
    covariates = {one.slide_id: {"age": age} for one, age in zip(slides, ages, strict=False)}
    split = split_slides(
        slides, records, CLASSES, folds or Folds(count=3), settings, out, trained, covariates=covariates
    )
    return slides, split


@pytest.fixture
def inside(tmp_path) -> Path:
    write(tmp_path / "inside", "PQRSTUVWXY", "0123456789")
    return tmp_path / "inside"


def test_slides_of_the_same_names_are_no_leak(inside, tmp_path):
    _, warnings = write(tmp_path / "outside", "abcd", "ABCD", trained=inside)
    assert not warnings
    assert {finding.outcome for finding in read_findings(tmp_path / "outside/leakage.csv")} == {"ok"}


def test_a_patient_of_both_data_sets_is_a_leak(inside, tmp_path):
    with pytest.raises(LeakError, match="patients also in inside: Q .1 in total.; if these are different patients"):
        write(tmp_path / "outside", "abQd", "ABCD", trained=inside)
    with pytest.raises(LeakError, match="patients also in inside: Q"):  # also where parts of a fold may share patients
        write(tmp_path / "outside", "abQd", "ABCD", trained=inside, folds=Folds(count=3, group_by_patient=False))
    _, (warning,) = write(tmp_path / "outside", "abQd", "ABCD", Leakage(patients="warn"), inside)
    assert "patients also in inside: Q" in warning


@pytest.mark.parametrize("labels", ["abab", "    "])
def test_a_picture_of_both_data_sets_is_a_leak_with_a_label_or_without(inside, tmp_path, labels):
    with pytest.raises(LeakError, match="external: s2 = inside: s4"):
        write(tmp_path / "outside", "abcd", "AB4D", trained=inside, labels=labels)


def test_external_covariates_may_all_be_missing_but_are_no_text_where_training_slides_have_numbers(tmp_path):
    with pytest.raises(BagError, match="column age of the slide sheet has no value for any slide in use: fill it in"):
        write(tmp_path / "inside", "PQRSTUVWXY", "0123456789", ages=[""] * 10)
    write(tmp_path / "inside", "PQRSTUVWXY", "0123456789", ages=[*"12345678", "9.5", ""])
    write(tmp_path / "outside", "abcd", "ABCD", trained=tmp_path / "inside", ages=[""] * 4)
    assert read_covariate_table(tmp_path / "outside/covariates.csv")["s3"] == {"age": ""}
    with pytest.raises(BagError, match="not a number, as the covariate is for all training slides: s1: age 'old'"):
        write(tmp_path / "outside", "abcd", "ABCD", trained=tmp_path / "inside", ages=["50", "old", "", "60"])


def test_unknown_patients_are_said(inside, tmp_path):
    slides = [Slide(f"s{k}", f"s{k}", "a", tmp_path / f"s{k}.svs", None) for k in range(3)]
    records = [SlideRecord(one.slide_id, one.path) for one in slides]
    split_slides(slides, records, CLASSES, Folds(count=3), Leakage(), tmp_path / "outside/folds.csv", inside)
    first, _ = read_findings(tmp_path / "outside/leakage.csv")
    assert (first.check, first.outcome) == ("patients", "unknown")


def test_another_data_set_to_validate_is_a_reason_to_split_again(inside, tmp_path):
    slides, _ = write(tmp_path / "outside", "abcd", "ABCD", trained=inside)
    given = (tmp_path / "outside/folds.csv", slides, CLASSES, Folds(count=3), Leakage())
    assert not reasons_to_split_again(*given, "inside")
    for validates in ("other", None):
        (reason,) = reasons_to_split_again(*given, validates)
        assert reason.endswith("made with another value of validates")
