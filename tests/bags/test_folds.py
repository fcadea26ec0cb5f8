from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from roformermil.bags import folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.errors import FoldsError
from roformermil.tasks import make_task

AB = ("a", "b")
UNUSABLE = [
    ("fold,slide_id,part\n0,s0_0,tets\n", "unknown part 'tets'"),
    ("fold,slide_id,part\n0,elsewhere,test\n", "contains no slide of the slide sheet"),
    ("fold,slide,part\n0,s0_0,test\n", "given folds need the columns fold, slide_id, part"),
    ("fold,slide_id,part\none,s0_0,test\n", "given folds need the columns fold, slide_id, part"),
]
# patients in turn of these classes, two slides each
TOO_FEW = [
    (
        7,
        AB,
        Folds(count=5),
        "too few patients with usable slides for 5 folds: class a has 4 patients, class b has 3 patients; "
        "set folds.count to 3 or less, or add patients",
    ),
    (
        3,
        AB,
        Folds(count=3),
        "too few patients with usable slides for 3 folds: class a has 2 patients, class b has 1 patient; "
        "add patients, each class needs 3 or more",
    ),
    (
        8,
        ("a",),
        Folds(count=3),
        "too few patients with usable slides for 3 folds: class b has 0 patients; add patients, each class needs 3 or more",
    ),
    (
        8,
        AB,
        Folds(count=9, group_by_patient=False),
        "too few usable slides for 9 folds: class a has 8 slides, class b has 8 slides; "
        "set folds.count to 8 or less, or add slides",
    ),
]


def slides(patients, each=2, classes=AB):
    names = [(p, k) for p in range(patients) for k in range(each)]
    return [Slide(f"s{p}_{k}", f"p{p}", classes[p % len(classes)], Path("x.svs"), None) for p, k in names]


@pytest.fixture
def rows():
    """Five folds of 12 patients with two slides each."""
    return folds.make_folds(slides(12), Folds(count=5), AB)


def test_slides_without_a_label_are_in_no_fold():
    unlabelled = replace(slides(1)[0], slide_id="s", label="")
    rows = folds.assign_folds("d", [*slides(12), unlabelled], Folds(count=5), AB)
    assert "s" not in {row.slide_id for row in rows} and len({row.slide_id for row in rows}) == 24


def test_what_is_missing_to_make_folds_is_said():
    unlabelled = [replace(slide, label="") for slide in slides(6)]
    for given, classes, message in (
        (
            unlabelled,
            (),
            "no usable slide has a label: fill in column label of the slide sheet, and name them in .*`classes`",
        ),
        (unlabelled, AB, "no usable slide has a label: fill in column label of the slide sheet with one of a, b$"),
        (slides(6, classes=("1", "a b")), (), r"no `classes`: add classes: \['1', a b\] to it, in the order"),
    ):
        for check in (folds.check_enough, lambda *arguments: folds.assign_folds("d", *arguments)):
            with pytest.raises(FoldsError, match=message):
                check(given, Folds(count=3), classes)


# patients, slides of each, folds, validation: patients that train, validate and are tested in each fold
SIZES = [
    ((20, 1, 10, 1 / 9), (16, 2, 2)),
    ((100, 2, 10, 1 / 9), (80, 10, 10)),
    ((60, 3, 10, 1 / 9), (48, 6, 6)),
    ((60, 1, 3, 1 / 9), (36, 4, 20)),
    ((60, 2, 3, 0.5), (20, 20, 20)),
    ((100, 1, 5, 0.25), (60, 20, 20)),
    ((6, 2, 3, 1 / 9), (2, 2, 2)),  # one patient of each class, however small the share
    ((12, 2, 3, 1 / 9), (6, 2, 4)),
]


@pytest.mark.parametrize(("given", "sizes"), SIZES)
def test_folds_are_stratified_grouped_and_test_every_slide_once(given, sizes):
    patients, each, count, validation = given
    rows = folds.make_folds(slides(patients, each), Folds(count=count, validation=validation), AB)
    tests = Counter(row.slide_id for row in rows if row.part == "test")
    assert set(tests.values()) == {1} and len(tests) == patients * each
    for fold in range(count):
        here = [row for row in rows if row.fold == fold]
        parts = {part: {r.patient_id for r in here if r.part == part} for part in ("train", "validation", "test")}
        assert [len(parts[part]) for part in ("train", "validation", "test")] == pytest.approx(sizes, abs=1)
        assert (len(here), sum(map(len, parts.values()))) == (patients * each, patients), "no patient in two parts"
        for part in parts:
            labels = Counter(r.label for r in here if r.part == part)
            assert abs(labels["a"] - labels["b"]) <= 2 * each


def test_patients_with_few_and_many_slides_and_a_rare_class_all_validate():
    rng = np.random.default_rng(0)
    listed = [
        Slide(f"s{p}_{k}", f"p{p}", "b" if p < 5 else "a", Path("x.svs"), None)
        for p in range(40)
        for k in range(rng.integers(1, 8))
    ]
    rows = folds.make_folds(listed, Folds(count=4), AB)
    for fold in range(4):
        here = [row for row in rows if row.fold == fold]
        validates = {row.patient_id: row.label for row in here if row.part == "validation"}
        trains = {row.patient_id: row.label for row in here if row.part == "train"}
        assert Counter(validates.values())["b"] == 1
        for label in AB:
            share = Counter(validates.values())[label], Counter(trains.values())[label]
            assert share[0] == max(1, round(sum(share) / 9))
    draws = [{r.patient_id for r in rows if (r.fold, r.part) == (fold, "validation")} for fold in range(4)]
    assert draws[0] != draws[1]


@pytest.mark.parametrize("share", [0.05, 1 / 9, 0.3, 0.4, 0.45])
def test_validation_is_the_share_of_each_class_however_rare(share):
    listed = [Slide(f"s{k}", f"p{k}", "b" if k < 6 else "a", Path("x.svs"), None) for k in range(206)]
    for fold, rows in groupby(folds.make_folds(listed, Folds(count=3, validation=share), AB), lambda row: row.fold):
        counts = Counter((row.label, row.part) for row in rows)
        for label in AB:
            validates, trains = counts[label, "validation"], counts[label, "train"]
            assert abs(validates - max(1, share * (validates + trains))) <= 0.5, (fold, label)


def test_a_patient_with_several_classes_is_in_one_part():
    listed = [Slide(f"s{p}{c}", f"p{p}", c, Path("x.svs"), None) for p in range(20) for c in AB]
    rows = folds.make_folds(listed, Folds(count=5), AB)
    for fold in range(5):
        parts = Counter(row.part for row in rows if row.fold == fold)
        assert parts == {"train": 28, "validation": 4, "test": 8}
    assert not folds.in_several_parts((row.fold, row.patient_id, row.part) for row in rows)


def test_paper_folds_are_by_slide_and_a_tenth_of_the_rest_validates():
    """The release's settings: 10 folds, stratified, val_frac 0.1 of what is not tested, no patient stratification."""
    rows = folds.make_folds(slides(100, 2), Folds(mode="paper"), AB)
    assert set(Counter(row.slide_id for row in rows if row.part == "test").values()) == {1}
    split_patients = 0
    for fold in range(10):
        here = [row for row in rows if row.fold == fold]
        counts = {"test": 10, "validation": 9, "train": 81}
        assert Counter((r.part, r.label) for r in here) == {(part, c): n for part, n in counts.items() for c in AB}
        others = [row for row in here if row.part != "test"]
        _, drawn = train_test_split(others, test_size=0.1, stratify=[r.label for r in others], random_state=1 + fold)
        assert {row.slide_id for row in drawn} == {row.slide_id for row in here if row.part == "validation"}
        split_patients += len(folds.in_several_parts((fold, row.patient_id, row.part) for row in here))
    assert split_patients > 0  # why its results are optimistic


@pytest.mark.parametrize("mode", ["kfold", "paper"])
def test_folds_depend_on_the_seed_but_not_on_the_order_of_slides(mode):
    listed, first, second = slides(20), Folds(mode=mode, seed=3), Folds(mode=mode, seed=4)
    assert folds.make_folds(listed, first, AB) == folds.make_folds(listed[::-1], first, AB)
    assert folds.make_folds(listed, first, AB) != folds.make_folds(listed, second, AB)


def test_slide_level_folds_split_patients():
    rows = folds.make_folds(slides(10, each=4), Folds(count=5, group_by_patient=False), AB)
    assert folds.in_several_parts((row.fold, row.patient_id, row.part) for row in rows)


@pytest.mark.parametrize(("patients", "classes", "settings", "message"), TOO_FEW)
def test_too_few_patients_or_slides_name_all_classes_and_the_remedy(patients, classes, settings, message):
    with pytest.raises(FoldsError, match=f"^{message}$"):
        folds.make_folds(slides(patients, classes=classes), settings, AB)


def test_a_slide_in_two_parts_is_named(rows):
    tested = next(row for row in rows if row.part == "test")
    with pytest.raises(FoldsError, match=f"fold {tested.fold}: slide {tested.slide_id} is in test and train"):
        folds.check_folds([*rows, replace(tested, part="train")], AB, "")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_parts_without_a_class_are_named_with_what_to_do(rows, part):
    lacking = [row for row in rows if (row.part, row.label) != (part, "b") or row.fold not in (1, 2)]
    first, second = (f"fold {fold}: its {part} part has no slide of class b" for fold in (1, 2))
    with pytest.raises(FoldsError, match=f"^{first}, {second}; add patients$"):
        folds.check_folds(lacking, AB, "add patients")


def test_three_folds_cannot_be_fewer_and_given_folds_are_corrected(tmp_path, monkeypatch):
    def one_group(listed, settings, seed):
        return np.zeros(len(listed), int)

    monkeypatch.setattr(folds, "_divide", one_group)
    with pytest.raises(FoldsError, match="; use another folds.seed, or add patients$"):
        folds.make_folds(slides(6), Folds(count=3), AB)
    with pytest.raises(FoldsError, match=r"; use fewer folds \(folds.count\), use another folds.seed, or add patients"):
        folds.make_folds(slides(8), Folds(count=4), AB)
    (tmp_path / "given.csv").write_text("fold,slide_id,part\n0,s0_0,test\n1,s0_0,test\n2,s0_0,test\n")
    with pytest.raises(FoldsError, match=f"fold 0: .*; correct {tmp_path}/given.csv"):
        folds.read_given_folds(tmp_path / "given.csv", slides(6), Folds(count=3), AB)


def test_a_tenth_that_cannot_validate_every_class_is_named():
    with pytest.raises(FoldsError, match="a tenth of 8 slides is too few to validate .*; set folds.mode to kfold"):
        folds.make_folds(slides(12, each=1), Folds(mode="paper", count=3), AB)


def test_repeats_divide_the_slides_again_and_leave_the_first_as_it_is(rows):
    repeated = folds.make_folds(slides(12), Folds(count=5, repeats=3), AB)
    assert [row for row in repeated if row.fold < 5] == rows
    for repeat in range(3):
        tested = Counter(row.slide_id for row in repeated if row.part == "test" and row.fold // 5 == repeat)
        assert set(tested.values()) == {1} and len(tested) == 24
    first, second = ({r.slide_id for r in repeated if (r.fold, r.part) == (k, "test")} for k in (0, 5))
    assert first != second


def test_folds_are_read_as_they_were_written(rows, tmp_path):
    folds.write_folds(tmp_path / "folds.csv", rows)
    assert folds.read_folds(tmp_path / "folds.csv", 2) == [row for row in rows if row.fold == 2]
    with pytest.raises(FoldsError, match="no fold 5"):
        folds.read_folds(tmp_path / "folds.csv", 5)


def test_given_folds_are_used_unchanged_without_slides_that_the_sheet_lacks(tmp_path):
    rows = folds.make_folds(slides(12), Folds(count=5, seed=9), AB)
    folds.write_folds(tmp_path / "{x} given_set.csv", [*rows, replace(rows[0], slide_id="elsewhere")])
    settings = Folds(count=5, path=str(tmp_path / "{x} given_{dataset}.csv"))
    assert folds.assign_folds("set", slides(12), settings, AB) == rows
    text = (tmp_path / "{x} given_set.csv").read_text()
    (tmp_path / "{x} given_set.csv").write_text(text, "utf-8-sig")  # with the byte-order mark that Excel writes
    assert folds.assign_folds("set", slides(12), settings, AB) == rows
    with pytest.raises(FoldsError, match="numbered 0 to 9"):
        folds.read_given_folds(tmp_path / "{x} given_set.csv", slides(12), Folds(), AB)


@pytest.mark.parametrize(("text", "message"), UNUSABLE)
def test_unusable_given_folds_name_the_mistake(tmp_path, text, message):
    with pytest.raises(FoldsError, match="given.csv: no such file of given folds"):
        folds.read_given_folds(tmp_path / "given.csv", slides(12), Folds(), AB)
    (tmp_path / "given.csv").write_text(text)
    with pytest.raises(FoldsError, match=message):
        folds.read_given_folds(tmp_path / "given.csv", slides(12), Folds(), AB)


def test_the_fingerprint_of_rows_depends_on_every_field_but_not_on_their_order(rows):
    assert folds.rows_fingerprint(rows) == folds.rows_fingerprint(rows[::-1])
    for change in ({"fold": 9}, {"slide_id": "x"}, {"patient_id": "x"}, {"label": "x"}, {"part": "x"}):
        assert folds.rows_fingerprint([replace(rows[0], **change), *rows[1:]]) != folds.rows_fingerprint(rows)


def test_seeds_never_change_and_differ_by_every_part():
    assert folds.derive_seed("atlas", 3, 1) == 1955269048
    assert len({folds.derive_seed(d, f, s) for d in "ab" for f in (0, 1) for s in (0, 1)}) == 8


def with_labels(labels):
    return [Slide(f"s{k}", f"p{k}", label, Path("x.svs"), None) for k, label in enumerate(labels)]


def test_every_part_has_its_share_of_events():
    cohort = with_labels([f"{k + 1}" + "+" * (k % 3 > 0) for k in range(45)])
    made = folds.make_folds(cohort, Folds(count=3), make_task("survival"))
    assert {row.label for row in made} == {slide.label for slide in cohort}, "as in the slide sheet"
    for _, of_fold in groupby(made, lambda row: row.fold):
        shares = Counter((row.part, row.label.endswith("+")) for row in of_fold)
        for part, least in (("train", 8), ("validation", 1), ("test", 5)):
            assert shares[part, False] >= least and 0.5 < shares[part, True] / (2 * shares[part, False]) <= 1.5


def test_folds_of_numbers_have_similar_means():
    cohort = with_labels([f"{k}" for k in np.random.default_rng(0).permutation(60)])
    made = folds.make_folds(cohort, Folds(count=3), make_task("regression"))
    means = [np.mean([float(r.label) for r in made if (r.fold, r.part) == (k, "test")]) for k in range(3)]
    assert np.ptp(means) < 5


@pytest.mark.parametrize(("slides", "count"), [(9, 3), (12, 5), (20, 10), (45, 10), (40, 15)])
def test_few_numbers_are_divided_too(slides, count):
    made = folds.make_folds(with_labels([f"{k}" for k in range(slides)]), Folds(count=count), make_task("regression"))
    tested = Counter(row.fold for row in made if row.part == "test")
    assert len(tested) == count and max(tested.values()) - min(tested.values()) <= 2


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        (["1+", "2+", "3"] + ["4+"] * 9, "survival", "the group with an event has 1 patient; add patients"),
        (["1", "2"], "regression", "too few patients .*the data set has 2 patients; add patients, it needs 3"),
        (["", ""], "survival", "no usable slide has a label: fill in column time and event of the slide sheet"),
    ],
)
def test_too_few_events_or_bags_are_told(labels, task, message):
    with pytest.raises(FoldsError, match=message):
        folds.make_folds(with_labels(labels), Folds(count=3), make_task(task))
