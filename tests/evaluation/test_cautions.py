from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roformermil.bags.leakage import Finding
from roformermil.cohort.slide_table import SlideRecord
from roformermil.evaluation.cautions import cautions, has_few_tests
from roformermil.evaluation.predictions import OutOfFold
from roformermil.tasks import Classification


def predictions(slides=40, patients=40, positive=20, encoder="net", folds=2):
    """Folds of so many slides, of so many patients (in turn), the first `positive` patients of class b."""
    patient = np.tile(np.arange(slides) % patients, folds)
    fold, label = np.repeat(np.arange(folds), slides), (patient < positive).astype(int)
    patient_ids = np.array([f"f{f}p{p}" for f, p in zip(fold, patient, strict=True)])
    slide_ids = np.array([f"s{k}" for k in range(len(fold))])
    probabilities = np.full((len(fold), 2), 0.5)
    seeds = np.ones(len(fold), int)
    return OutOfFold(
        "set", encoder, "m", Classification(("a", "b")), slide_ids, patient_ids, fold, label, probabilities, seeds
    )


@pytest.mark.parametrize(
    ("model", "caution"),
    [
        (predictions(encoder="resnet50-random"), "resnet50-random: random encoder weights"),
        (predictions(slides=19, patients=19, positive=9), "set: 19 test slides per fold are few"),
        (predictions(positive=1), "and 95% intervals cover only about 90%"),
        (replace(predictions(positive=4), trained_on="in"), "4 test patients of class b: with so few"),
        (predictions(positive=4), "4 test patients of class b per fold: with so few patients AUROC is coarse"),
        (predictions(slides=80, patients=8, positive=4), "4 test patients of class"),  # with many slides each
        (predictions(patients=40, positive=36), "4 test patients of class a per fold"),
        (replace(predictions(), slides=np.tile(np.arange(40), 2)), "40 slides are tested by several folds"),
    ],
)
def test_each_shortage_has_its_caution(model, caution):
    (line,) = cautions(model)
    assert caution in line


@pytest.mark.parametrize("few", [{}, {"slides": 20, "patients": 20, "positive": 10}, {"positive": 5}, {"positive": 35}])
def test_no_caution_at_the_limit(few):
    records, findings = [SlideRecord("s", Path("s.svs"))], [Finding("patients", "ok", 0, "")]
    assert cautions(predictions(**few), records, findings) == []


def test_intervals_over_two_patients_of_a_class_need_no_caution():
    (line,) = cautions(predictions(positive=2))
    assert line.endswith("AUROC is coarse and average precision is biased upwards")


@pytest.mark.parametrize(("lost", "lines"), [(1, 0), (2, 1)])
def test_many_lost_slides_need_a_caution(lost, lines):
    records = [SlideRecord(f"s{k}", Path("s.svs"), status="no_mpp" if k < lost else "ok") for k in range(20)]
    records += [SlideRecord("x", Path("x.svs"), status="excluded")] * 20
    assert [f"{lost} of 20 slides are lost" in line for line in cautions(predictions(), records)] == [True] * lines


def test_the_pooled_auroc_is_shown_where_a_caution_is_due():
    assert not has_few_tests(predictions()) and not has_few_tests(predictions(positive=5))
    assert has_few_tests(predictions(positive=4)) and has_few_tests(predictions(slides=19, patients=19, positive=9))


def test_leaks_and_unknown_patients_need_a_caution():
    leaks = [Finding(check, "leak", 2, "p1, p2") for check in ("patients", "duplicates", "sites")]
    patients, duplicates, sites = cautions(predictions(), findings=leaks)
    assert patients == "set: training and test share patients, so the metrics are optimistic (p1, p2)"
    assert "duplicate slides" in duplicates and "the site predicts the label" in sites
    (line,) = cautions(predictions(), findings=[Finding("patients", "unknown", 0, "")])
    assert "patients are unknown" in line
    assert cautions(predictions(), findings=[Finding("sites", "unknown", 0, "")]) == []
