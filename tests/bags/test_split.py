"""What decided a data set's folds is kept in folds.json, and a difference from it is a reason to divide again."""

from dataclasses import replace

import pytest

from roformermil.bags.split import reasons_to_split_again, split_slides
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Folds, Leakage

CLASSES = ["a", "b"]
SHEET = "the slide sheet's patients, labels and sites"


@pytest.fixture
def made(tmp_path):
    """The slides of a sheet, and the folds.csv that was made of them."""
    slides = [Slide(f"s{k}", f"p{k}", CLASSES[k % 2], tmp_path / f"s{k}.svs", None) for k in range(12)]
    records = [SlideRecord(slide.slide_id, slide.path) for slide in slides]
    split_slides(slides, records, CLASSES, Folds(count=3), Leakage(), tmp_path / "set/folds.csv")
    return slides, tmp_path / "set/folds.csv"


CHANGES = {
    "nothing": ({}, {}, {}, None),
    "an mpp, which decides no fold": ({"mpp": 0.5}, {}, {}, None),
    "a label": ({"label": "b"}, {}, {}, SHEET),
    "a patient": ({"patient_id": "p1"}, {}, {}, SHEET),
    "a site": ({"site": "here"}, {}, {}, SHEET),
    "the seed": ({}, {"seed": 2}, {}, "folds.seed"),
    "the number of folds": ({}, {"count": 4}, {}, "folds.count"),
    "what a leak does": ({}, {}, {"sites": "fail"}, "leakage.sites"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_slides_and_settings_are_a_reason(made, change):
    (slides, path), (of_slide, of_folds, of_leakage, name) = made, CHANGES[change]
    slides = [replace(slides[0], **of_slide), *slides[1:]]
    settings = Folds(**{"count": 3} | of_folds), Leakage(**of_leakage)
    expected = [f"{path}: made with another value of {name}"] if name else []
    assert reasons_to_split_again(path, slides, CLASSES, *settings) == expected


def test_another_unit_is_a_reason(made):
    slides, path = made
    settings = (CLASSES, Folds(count=3), Leakage())
    (reason,) = reasons_to_split_again(path, slides, *settings, unit="patient")
    assert reason == f"{path}: made with another value of unit"


def test_classes_in_another_order_and_a_damaged_description_are_reasons_and_no_folds_are_none(made):
    slides, path = made
    again = (slides, CLASSES, Folds(count=3), Leakage())
    assert reasons_to_split_again(path, slides, CLASSES[::-1], *again[2:]) == [
        f"{path}: made with another value of classes"
    ]
    path.with_suffix(".json").write_text("{")
    assert len(reasons_to_split_again(path, *again)) == 1
    path.unlink()
    assert not reasons_to_split_again(path, *again)


def test_given_folds_are_compared_by_content(tmp_path):
    slides = [Slide(f"s{k}", f"p{k}", CLASSES[k % 2], tmp_path / f"s{k}.svs", None) for k in range(6)]
    given = tmp_path / "set.csv"
    parts = ["test", "validation", "train"]
    rows = [f"{fold},s{k},{parts[(k // 2 + fold) % 3]}" for fold in range(3) for k in range(6)]
    given.write_text("\n".join(["fold,slide_id,part", *rows]) + "\n")
    settings = Folds(count=3, path=str(tmp_path / "{dataset}.csv"))
    records = [SlideRecord(slide.slide_id, slide.path) for slide in slides]
    split_slides(slides, records, CLASSES, settings, Leakage(), tmp_path / "set/folds.csv")
    assert not reasons_to_split_again(tmp_path / "set/folds.csv", slides, CLASSES, settings, Leakage())
    given.write_text(given.read_text() + "\n")
    (reason,) = reasons_to_split_again(tmp_path / "set/folds.csv", slides, CLASSES, settings, Leakage())
    assert reason.endswith("the given folds' content")
