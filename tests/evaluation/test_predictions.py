"""Predictions of several seeds, and with shuffled positions, as arrays."""

import numpy as np
import pandas as pd
import pytest

from roformermil.errors import ModelError
from roformermil.evaluation.fold_results import FoldResult
from roformermil.evaluation.predictions import out_of_fold, read_table
from tests.factories import SimulatedRun

CLASSES = ["a", "b"]


@pytest.fixture
def run(tmp_path) -> SimulatedRun:
    """A model of three folds with two seeds, whose positions were shuffled in two repeats."""
    run = SimulatedRun(tmp_path)
    run.add_model("set", run.add_dataset("set", CLASSES), CLASSES, seeds=2, shuffled_strength=0.0)
    return run


def read_model(run):
    (model,) = out_of_fold([FoldResult.at(path) for path in run.predictions])
    return model


def test_each_seed_of_a_fold_has_its_own_predictions_of_the_same_slides(run):
    model = read_model(run)
    assert model.runs == [(fold, seed) for fold in range(3) for seed in (1, 2)]
    assert (model.fold_count, model.seed_count, len(model.slides)) == (3, 2, 2 * 24)
    for (fold, seed), tested in zip(model.runs, model.tests, strict=True):
        (path,) = (
            p for p in run.predictions if p.parent.name == f"fold_{fold}" + (f"_seed_{seed}" if seed > 1 else "")
        )
        table = read_table(path).query("part == 'test'")
        assert model.slides[tested].tolist() == table.slide_id.tolist()
        assert (model.predictions[tested, 1] == table.probability_b).all()


def test_seeds_are_no_repeats_and_each_slide_counts_once_with_the_first_seed(run):
    model = read_model(run)
    once = model.without_repeats()
    assert model.repeated == 0 and len(once.slides) == len(set(once.slides)) == 24
    assert set(once.seeds) == {1} and once.shuffled.shape == (2, 24, 2)
    backwards = model.select(np.arange(len(model.slides))[::-1]).without_repeats()
    assert set(backwards.seeds) == {1}, "the order of the predictions does not matter"
    twice = model.select(np.append(np.arange(48), np.arange(4)))
    twice.folds[-4:] = 9
    assert twice.repeated == 4


def test_shuffled_predictions_are_found_by_slide_and_repeats_are_runs_of_their_own(run):
    model = read_model(run)
    path = run.predictions[0].with_name("shuffled.csv")
    rows = read_table(path)
    rows.sample(frac=1, random_state=0).to_csv(path, index=False)
    assert (read_model(run).shuffled == model.shuffled).all()
    shuffled = model.with_positions_shuffled()
    assert len(shuffled.runs) == 3 * 2 * 2 and shuffled.fold_count == 3 and shuffled.with_positions_shuffled() is None
    first = rows[rows.repeat == 0].set_index("slide_id").probability_b
    for slide, value in first.items():
        assert model.shuffled[0, (model.slides == slide) & (model.seeds == 1), 1] == value
        assert value in shuffled.predictions[shuffled.slides == slide, 1]


def test_a_model_whose_folds_lack_shuffled_predictions_has_none(run):
    path = run.predictions[3].with_name("shuffled.csv")
    pd.read_csv(path)[:0].to_csv(path, index=False)
    assert read_model(run).shuffled is None
    path.unlink()
    assert read_model(run).shuffled is None


def test_a_damaged_table_of_shuffled_predictions_is_named(run):
    path = run.predictions[0].with_name("shuffled.csv")
    read_table(path)[1:].to_csv(path, index=False)
    with pytest.raises(ModelError, match=r"fold_0/shuffled.csv: damaged"):
        read_model(run)
