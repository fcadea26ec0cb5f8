"""Covariates as vectors, against scikit-learn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from roformermil.bags.augmentation import sample_tiles, shuffle_bag
from roformermil.bags.covariate_table import check_covariates, covariates_digest, covariates_of_bags, number_columns
from roformermil.bags.covariates import CovariateCoding, add_covariates, fit_coding
from roformermil.bags.dataset import BagDataset, pack
from roformermil.bags.folds import FoldRow
from roformermil.cohort.covariates import write_covariates
from roformermil.cohort.slide_sheet import Slide
from roformermil.config.base import read_settings, to_json
from roformermil.errors import BagError

RNG = np.random.default_rng(0)
TRAINING = [{"age": f"{RNG.normal(60, 9):.1f}", "stage": str(RNG.choice(["I", "II", "III"]))} for _ in range(40)]
TRAINING[3]["age"] = TRAINING[7]["stage"] = ""
OTHERS = [{"age": "71", "stage": "II"}, {"age": "", "stage": "IV"}, {"age": "49.5", "stage": ""}]


def vectors(coding, cells):
    return coding.encode({str(k): one for k, one in enumerate(cells)}).numpy()


def test_the_vector_is_that_of_scikit_learn():
    coding = fit_coding(["age", "stage"], TRAINING, ["age"])
    frames = [np.array([[float(c["age"] or "nan"), c["stage"]] for c in cells], object) for cells in (TRAINING, OTHERS)]
    scaled = make_pipeline(StandardScaler(), SimpleImputer(strategy="constant", fill_value=0, add_indicator=True))
    known = [["I", "II", "III"]]
    reference = make_column_transformer((scaled, [0]), (OneHotEncoder(categories=known, handle_unknown="ignore"), [1]))
    reference.fit(frames[0])
    for cells, frame in zip((TRAINING, OTHERS), frames, strict=True):
        expected = reference.transform(frame)
        expected = expected.toarray() if hasattr(expected, "toarray") else expected
        assert vectors(coding, cells) == pytest.approx(np.asarray(expected, float), abs=1e-6)
    assert coding.entries == ["age", "age is missing", "stage is I", "stage is II", "stage is III"]
    assert read_settings(CovariateCoding, to_json(coding)) == coding


def test_what_is_missing_or_new_is_told_and_text_for_a_number_is_refused():
    coding = fit_coding(["age", "stage"], TRAINING, ["age"])
    age = np.mean([float(one["age"]) for one in TRAINING if one["age"]])
    assert coding.gaps(OTHERS) == [
        f"1 without age: taken as the training mean, {age:.3g}",
        "2 without stage or with one that no training slide has (IV): no category counts",
    ]
    assert not coding.gaps(OTHERS[:1])
    with pytest.raises(BagError, match="not a number, as the covariate is for all training slides: s9: age 'sixty'"):
        coding.encode({"s9": {"age": "sixty", "stage": "I"}})
    with pytest.raises(BagError, match="the model needs the covariate stage: give it"):
        coding.encode({"s9": {"age": "60"}})
    complete = fit_coding(["age"], [{"age": "60"}, {"age": "60"}], ["age"])
    assert complete.entries == ["age"] and vectors(complete, [{"age": "61"}, {"age": ""}]).tolist() == [[1], [0]]


def test_a_column_is_of_numbers_if_all_its_filled_cells_are():
    table = [{"a": "1e3", "b": "2", "c": ""}, {"a": "-2", "b": "2+", "c": "nan?"}, {"a": "", "b": "", "c": ""}]
    assert number_columns(table, ["a", "b", "c"]) == ["a"]


def test_the_slides_of_a_patient_agree_or_leave_the_cell_empty():
    table = {"a": {"age": "50", "g": ""}, "b": {"age": "50.0", "g": "II"}, "c": {"age": "", "g": "I"}}
    rows = [FoldRow(0, name, patient, "x", "train") for name, patient in (("a", "p"), ("c", "q"), ("b", "p"))]
    assert covariates_of_bags(rows, table, "patient") == {"p": {"age": "50.0", "g": "II"}, "q": {"age": "", "g": "I"}}
    assert list(covariates_of_bags(rows, table, "slide")) == ["a", "c", "b"]
    slides = [Slide(row.slide_id, row.patient_id, "x", Path("x"), None) for row in rows]
    check_covariates(slides, table, "patient")
    table["a"]["g"] = "III"
    check_covariates(slides, table, "slide")
    with pytest.raises(BagError, match=r"one value of each covariate, but slides differ: p \(g: III, II\)"):
        check_covariates(slides, table, "patient")
    with pytest.raises(BagError, match="covariates.csv lacks 1 slide, such as d"):
        covariates_of_bags([*rows, FoldRow(0, "d", "r", "x", "test")], table, "slide")


def test_bags_and_batches_carry_them_from_the_training_bags_alone(make_stores, tmp_path, caplog):
    rows = [FoldRow(0, f"s{k}", f"p{k}", "x", "test" if k > 1 else "train") for k in range(4)]
    stores = make_stores({row.slide_id: 5 for row in rows})
    data, path = BagDataset(rows, stores, ["x"], cache_bytes=1e6), tmp_path / "covariates.csv"
    ages = dict(zip(("s0", "s1", "s2", "s3"), ("40", "60", "1000", ""), strict=True))
    write_covariates(path, {name: {"age": age} for name, age in ages.items()}, ["age"])
    with caplog.at_level("INFO"):
        coding = add_covariates(data, [0, 1], path, "slide")
    assert (coding.columns[0].mean, coding.columns[0].std) == (50, 10)
    assert "of 4 slides, 1 without age: taken as the training mean, 50" in caplog.text
    assert pack([data[0], data[2], data[3], data[0]]).covariates.tolist() == [[-1], [95], [0], [-1]]
    assert sample_tiles(shuffle_bag(data[2], 0), 2, torch.Generator()).covariates.tolist() == [95]
    assert pack([BagDataset(rows, stores, ["x"])[0]]).covariates is None
    before = covariates_digest(path, rows[:2])
    write_covariates(path, {name: {"age": age} for name, age in (ages | {"s2": "1"}).items()}, ["age"])
    assert covariates_digest(path, rows[:2]) == before != covariates_digest(path, rows)
