from collections import Counter
from dataclasses import replace

import pytest

from roformermil.bags.folds import check_folds, derive_seed, given_folds, make_folds, read_folds, write_folds
from roformermil.bags.leakage import find_leaks
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.errors import FoldsError

AB = ("a", "b")


def slides(patients, each=2, classes=("a", "b")):
    return [
        Slide(f"s{p}_{k}", f"p{p}", classes[p % len(classes)], "x.svs", None)
        for p in range(patients)
        for k in range(each)
    ]


@pytest.mark.parametrize(("patients", "each", "count"), [(20, 1, 10), (12, 2, 5), (60, 3, 10)])
def test_folds_are_stratified_grouped_and_test_every_slide_once(patients, each, count):
    rows = make_folds(slides(patients, each), Folds(count=count), AB)
    tests = Counter(row.slide_id for row in rows if row.part == "test")
    assert set(tests.values()) == {1}
    assert len(tests) == patients * each
    for fold in range(count):
        here = [row for row in rows if row.fold == fold]
        parts = {part: {r.patient_id for r in here if r.part == part} for part in ("train", "validation", "test")}
        assert len(here) == patients * each
        assert sum(map(len, parts.values())) == patients, "no patient in two parts"
        labels = Counter(r.label for r in here if r.part == "test")
        assert abs(labels["a"] - labels["b"]) <= each


def test_paper_folds_are_by_slide_and_a_tenth_of_the_rest_validates():
    """The release's settings: 10 folds, stratified, val_frac 0.1 of what is not tested, no patient stratification."""
    rows = make_folds(slides(100, 2), Folds(mode="paper"), AB)
    assert set(Counter(row.slide_id for row in rows if row.part == "test").values()) == {1}
    split_patients = 0
    for fold in range(10):
        here = [row for row in rows if row.fold == fold]
        assert Counter(row.part for row in here) == {"test": 20, "validation": 18, "train": 162}
        for part, each in (("test", 10), ("validation", 9)):
            assert Counter(row.label for row in here if row.part == part) == {"a": each, "b": each}
        parts = {}
        for row in here:
            parts.setdefault(row.patient_id, set()).add(row.part)
        split_patients += sum(len(where) > 1 for where in parts.values())
    assert split_patients > 0  # what makes its results flatter


def test_folds_depend_on_the_seed_and_on_nothing_else():
    here = slides(20)
    assert make_folds(here, Folds(seed=3), AB) == make_folds(here[::-1], Folds(seed=3), AB)
    assert make_folds(here, Folds(seed=3), AB) != make_folds(here, Folds(seed=4), AB)


def test_slide_level_folds_split_patients():
    rows = make_folds(slides(10, each=4), Folds(count=5, group_by_patient=False), AB)
    assert find_leaks(rows, [], [])[0].outcome == "leak"


def test_too_few_patients_name_the_remedy():
    with pytest.raises(FoldsError, match="class a has 4 patients .* too few for 5 folds; set folds.count to 4"):
        make_folds(slides(8), Folds(count=5), AB)
    with pytest.raises(FoldsError, match="class b has 0 patients"):
        make_folds(slides(8, classes=("a",)), Folds(count=3), AB)


def test_a_slide_in_two_parts_is_named():
    rows = make_folds(slides(12), Folds(count=5), AB)
    at = next(row for row in rows if row.part == "test")
    with pytest.raises(FoldsError, match=f"fold {at.fold}: slide {at.slide_id} is in test and train"):
        check_folds([*rows, replace(at, part="train")], AB)


def test_folds_survive_the_disk(tmp_path):
    rows = make_folds(slides(12), Folds(count=5), AB)
    write_folds(tmp_path / "folds.csv", rows)
    assert read_folds(tmp_path / "folds.csv", 2) == [row for row in rows if row.fold == 2]
    with pytest.raises(FoldsError, match="no fold 5"):
        read_folds(tmp_path / "folds.csv", 5)


def test_given_folds_are_taken_as_they_are(tmp_path):
    rows = make_folds(slides(12), Folds(count=5, seed=9), AB)
    write_folds(tmp_path / "given.csv", rows)
    assert given_folds(tmp_path / "given.csv", slides(12), Folds(count=5), AB) == rows
    with pytest.raises(FoldsError, match="numbered 0 to 9"):
        given_folds(tmp_path / "given.csv", slides(12), Folds(), AB)
    (tmp_path / "wrong.csv").write_text("fold,slide_id,part\n0,s0_0,tets\n")
    with pytest.raises(FoldsError, match="unknown part 'tets'"):
        given_folds(tmp_path / "wrong.csv", slides(12), Folds(), AB)


def test_seeds_differ_by_every_part():
    seeds = {derive_seed(d, m, f, s) for d in "ab" for m in "xy" for f in (0, 1) for s in (0, 1)}
    assert len(seeds) == 16
