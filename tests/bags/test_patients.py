"""All slides of a patient as one bag: what is in it, and that positions stay within their slide."""

from pathlib import Path

import pytest
import torch

from roformermil.bags.augmentation import Augmentation, sample_tiles, shuffle_bag, shuffle_positions
from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import FoldRow
from roformermil.bags.patients import check_patient_labels, group_into_bags, slides_of_bags, with_patient_labels
from roformermil.bags.split import split_slides
from roformermil.bags.statistics import feature_statistics
from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Folds, Leakage
from roformermil.errors import FoldsError
from roformermil.features.store import read_store

TILES = {"a": 5, "b": 3, "c": 9, "d": 2}
PATIENTS = {"a": "p", "b": "q", "c": "p", "d": "r"}
LABELS = {"p": "x", "q": "y", "r": "y"}
ROWS = [FoldRow(0, name, PATIENTS[name], LABELS[PATIENTS[name]], "train") for name in TILES]


@pytest.fixture
def data(make_stores):
    return BagDataset(ROWS, make_stores(TILES), ["x", "y"], cache_bytes=1e6, unit="patient")


def test_a_bag_has_the_tiles_of_all_slides_of_its_patient_one_slide_after_the_other(data):
    assert len(data) == 3 and data.targets.tolist() == [0, 1, 1]
    bag = data[0]
    assert (bag.slide_ids, bag.slide_lengths, bag.target) == (["a", "c"], [5, 9], 0)
    stores = [read_store(data.stores / f"{name}.zarr") for name in ("a", "c")]
    assert torch.equal(bag.features, torch.cat([torch.from_numpy(store.features) for store in stores]))
    assert torch.equal(bag.grid, torch.cat([torch.from_numpy(store.grid) for store in stores]))
    assert data[0] is bag, "kept in memory"
    batch = pack([data[0], data[2]])
    assert (batch.lengths, batch.slide_lengths, batch.slide_ids) == ([14, 2], [5, 9, 2], ["a", "c", "d"])


def test_each_patient_has_the_same_weight_in_the_mean_of_features(data):
    mean, _ = feature_statistics(data, [0, 1], readers=1)
    expected = torch.stack([data[k].features.double().mean(dim=0) for k in (0, 1)]).mean(dim=0)
    torch.testing.assert_close(mean.double(), expected, rtol=0, atol=1e-6)


def test_each_slide_of_a_bag_is_turned_and_shuffled_on_its_own_glass(data):
    bag = data[0]
    for _ in range(5):
        generators = (torch.Generator().manual_seed(k) for k in (0, 1))
        turned = Augmentation("rotate", None, 1.0, *generators)(bag)
        for before, after in zip(bag.grid.split([5, 9]), turned.grid.split([5, 9]), strict=True):
            assert torch.equal(after.amin(dim=0), before.amin(dim=0).float()), "where the slide lay"
            ratio = torch.pdist(after.double()) / torch.pdist(before.double())
            torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=1e-4, atol=0)
    first, second = turned.grid.split([5, 9])
    assert (torch.pdist(first)[0] / torch.pdist(second)[0]).item() != pytest.approx(1), "each by its own factor"
    shuffled = shuffle_bag(bag, repeat=1).grid.split([5, 9])
    for name, grid, expected in zip("ac", shuffled, bag.grid.split([5, 9]), strict=True):
        assert torch.equal(grid, shuffle_positions(expected, name, 1)), "as where the slide is a bag alone"


def test_drawn_tiles_still_know_their_slide(data):
    for count in (1, 4, 13):
        drawn = sample_tiles(data[0], count, torch.Generator().manual_seed(count))
        assert len(drawn.grid) == sum(drawn.slide_lengths) == count and min(drawn.slide_lengths) > 0
        for name, features in zip(drawn.slide_ids, drawn.features.split(drawn.slide_lengths), strict=True):
            stored = torch.from_numpy(read_store(data.stores / f"{name}.zarr").features)
            assert all((tile == stored).all(dim=1).any() for tile in features)


def test_patients_whose_slides_differ_in_label_or_part_are_refused_with_the_remedy():
    mixed = [*ROWS, FoldRow(0, "e", "q", "x", "train")]
    with pytest.raises(FoldsError, match=r"one label per patient.* q \(b: y, e: x\) differ: correct the labels"):
        group_into_bags(mixed, "patient")
    with pytest.raises(FoldsError, match="all slides of a patient in one part of a fold; p has several"):
        group_into_bags([*ROWS, FoldRow(0, "e", "p", "x", "test")], "patient")
    assert [len(bag) for bag in group_into_bags(mixed, "slide")] == [1] * 5
    check_patient_labels([Slide("e", "q", "", Path("e"), None), *ROWS])  # a slide without a label is in no fold


def test_the_split_stops_at_a_patient_with_two_labels_only_where_patients_are_the_unit(tmp_path):
    slides = [Slide(f"s{k}", f"p{k // 2}", "xy"[k // 2 % 2], Path(f"s{k}"), None) for k in range(24)]
    slides.append(Slide("odd", "p0", "y", Path("odd"), None))
    records = [SlideRecord(slide.slide_id, slide.path) for slide in slides]
    given = (slides, records, ["x", "y"], Folds(count=3), Leakage(), tmp_path / "set/folds.csv")
    with pytest.raises(FoldsError, match=r"p0 \(s0: x, s1: x, odd: y\)"):
        split_slides(*given, unit="patient")
    assert not (tmp_path / "set/folds.csv").exists()
    split_slides(*given)
    assert (tmp_path / "set/folds.csv").exists()


def test_slides_are_listed_by_bag_once_however_many_folds_have_them():
    rows = [*ROWS, *(FoldRow(1, row.slide_id, row.patient_id, row.label, "test") for row in ROWS)]
    assert slides_of_bags(rows, "patient") == {"p": ["a", "c"], "q": ["b"], "r": ["d"]}
    assert slides_of_bags(rows, "slide") == {name: [name] for name in TILES}


def test_a_slide_without_a_label_has_that_of_its_patient():
    slides = [Slide(name, "p", label, Path("x"), None) for name, label in (("a", ""), ("b", "x"), ("c", ""))]
    slides.append(Slide("d", "q", "", Path("x"), None))
    assert [slide.label for slide in with_patient_labels(slides)] == ["x", "x", "x", ""]
