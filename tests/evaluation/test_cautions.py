from dataclasses import replace

import numpy as np
import pytest

from roformermil.bags.leakage import Finding
from roformermil.cohort.slide_table import SlideRecord
from roformermil.evaluation.cautions import cautions
from roformermil.evaluation.predictions import OutOfFold


def predictions(slides=40, patients=40, positive=20, encoder="net", folds=2):
    """Folds of so many slides, of so many patients (in turn), the first `positive` patients of the second class."""
    patient = np.tile(np.arange(slides) % patients, folds)
    fold, label = np.repeat(np.arange(folds), slides), (patient < positive).astype(int)
    names = np.array([f"f{f}p{p}" for f, p in zip(fold, patient, strict=True)])
    ids = np.array([f"s{k}" for k in range(len(fold))])
    return OutOfFold("set", encoder, "m", ["a", "b"], ids, names, fold, label, np.full((len(fold), 2), 0.5))


def test_enough_of_everything_needs_no_caution():
    assert cautions(predictions(), [SlideRecord("s", "s.svs")], [Finding("patients", "ok", 0, "")]) == []


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (predictions(encoder="resnet50-random"), "random encoder weights"),
        (predictions(slides=19, patients=19, positive=9), "19 test slides a fold are few"),
        (predictions(positive=1), "hold in about nine cases of ten"),
        (predictions(positive=4), "4.0 test patients of class b a fold"),
        (predictions(slides=80, patients=8, positive=4), "4.0 test patients of class"),  # of many slides each
        (predictions(patients=40, positive=36), "4.0 test patients of class a a fold"),
    ],
)
def test_each_reason_is_said(one, said):
    (line,) = cautions(one)
    assert said in line


@pytest.mark.parametrize(
    "one", [predictions(slides=20, patients=20, positive=10), predictions(positive=5), predictions(positive=35)]
)
def test_at_the_limit_nothing_is_said(one):
    assert cautions(one) == []


def test_intervals_over_two_patients_of_a_class_are_not_blamed():
    (line,) = cautions(predictions(positive=2))
    assert "nine cases" not in line


@pytest.mark.parametrize(("lost", "said"), [(1, False), (2, True)])
def test_many_lost_slides(lost, said):
    rows = [SlideRecord(f"s{k}", "s.svs", status="no_mpp" if k < lost else "ok") for k in range(20)]
    rows += [SlideRecord("x", "x.svs", status="excluded")] * 20
    assert [f"{lost} of 20 slides are lost" in line for line in cautions(predictions(), rows)] == [True] * said


def test_what_the_audit_found_or_could_not_know():
    leaks = [Finding(check, "leak", 2, "p1, p2") for check in ("patients", "duplicates", "sites")]
    lines = cautions(predictions(), findings=leaks)
    assert ["the same patients" in lines[0], "the same slides" in lines[1], "site" in lines[2]] == [True] * 3
    (line,) = cautions(predictions(), findings=[Finding("patients", "unknown", 0, "")])
    assert "patients are not known" in line
    assert cautions(predictions(), findings=[Finding("sites", "unknown", 0, "")]) == []


def test_slides_that_several_folds_test():
    one = predictions()
    (line,) = cautions(replace(one, slides=np.tile(one.slides[:40], 2)))
    assert "40 slides are tested by several folds" in line
