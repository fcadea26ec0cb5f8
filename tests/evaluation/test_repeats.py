"""A cross-validation that is done several times: each slide has a prediction per repeat."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from roformermil.bags.folds import make_folds
from roformermil.cohort.slide_sheet import Slide
from roformermil.config import Folds
from roformermil.evaluation.calibration import confusion
from roformermil.evaluation.cautions import cautions
from roformermil.evaluation.comparisons import compare_models
from roformermil.evaluation.consistency import read_results
from roformermil.evaluation.intervals import degrees_of_freedom
from roformermil.evaluation.notes import describe_folds
from roformermil.evaluation.pooled import pooled_auroc
from roformermil.evaluation.predictions import out_of_fold
from roformermil.evaluation.summary import fold_metrics, summary_table
from roformermil.evaluation.tables import write_tables
from tests.factories import SimulatedRun

CLASSES = ["a", "b"]


@pytest.fixture
def run(tmp_path):
    """Two models on 40 patients in two repeats of four folds."""
    made, slides = SimulatedRun(tmp_path), [Slide(f"s{k}", f"p{k}", CLASSES[k % 2], tmp_path, None) for k in range(40)]
    made.add_dataset("set", CLASSES, slides=40)
    rows = pd.DataFrame(make_folds(slides, Folds(count=4, repeats=2), CLASSES))
    rows.to_csv(tmp_path / "set/folds.csv", index=False)
    for number, model in enumerate(("one", "two")):
        made.add_model("set", rows, CLASSES, model, seed=number, strength=1 + number)
    return made


def test_repeats_are_told_from_the_predictions(run):
    results = read_results(run.predictions)
    one, _ = out_of_fold(results)
    assert (one.folds_per_repeat, one.repeat_count, one.fold_count, one.repeated) == (4, 2, 8, 0)
    assert describe_folds(one) == "2 repeats of 4 folds"
    assert not any("not independent" in line for line in cautions(one))
    assert out_of_fold(results[:4])[0].folds_per_repeat is None, "one repeat alone"
    assert out_of_fold(results[:7])[0].folds_per_repeat is None, "a fold is missing"
    assert out_of_fold(results, "validation")[0].folds_per_repeat == 4


def test_slides_are_counted_in_the_first_repeat(run):
    one, _ = out_of_fold(read_results(run.predictions))
    first = one.without_repeats()
    assert sorted(first.slides) == sorted(set(one.slides)) and set(first.folds) == set(range(4))
    assert confusion([one]).slides.sum() == 40


def test_patients_count_once_in_intervals(run):
    results = read_results(run.predictions)
    one, _ = out_of_fold(results)
    assert degrees_of_freedom(one) == degrees_of_freedom(one.select(one.repeats == 0)) == 40 - 4
    summary = summary_table(fold_metrics(results[:8])[0], [one]).set_index("metric")
    alone = summary_table(fold_metrics(results[:4])[0], [one.select(one.repeats == 0)]).set_index("metric")
    width = (summary.ci_high - summary.ci_low)["auroc"]
    assert width > 0.6 * (alone.ci_high - alone.ci_low)["auroc"], "twice the folds are no twice as many patients"


def test_the_pooled_auroc_is_the_mean_over_repeats(run):
    one, _ = out_of_fold(read_results(run.predictions))
    areas = [roc_auc_score(p.targets, p.predictions[:, 1]) for p in (one.select(one.repeats == r) for r in range(2))]
    assert pooled_auroc(one)[0] == pytest.approx(np.mean(areas))


def test_models_are_compared_over_the_folds_of_all_repeats(run):
    """Corrected repeated k-fold cross-validation test (Bouckaert and Frank, PAKDD 2004, equation 3)."""
    results = read_results(run.predictions)
    metrics, sizes = fold_metrics(results)
    table = compare_models(out_of_fold(results), metrics, (sizes.test / sizes.train).to_dict())
    row = table[(table.metric == "auroc") & (table.test == "corrected_t")].iloc[0]
    values = metrics[metrics.metric == "auroc"].pivot(index="fold", columns="model", values="value")
    x = (values.two - values.one).to_numpy()
    ratio = sizes.loc["set", "test"] / sizes.loc["set", "train"]
    statistic = x.mean() / np.sqrt((1 / 8 + ratio) * x.var(ddof=1))
    assert (row.folds, row.statistic) == (8, pytest.approx(statistic))
    assert row.p == pytest.approx(2 * student.sf(abs(statistic), 7))


def test_the_tables_say_that_there_are_repeats(run, tmp_path):
    write_tables(run.predictions, run.datasets, tmp_path / "tables")
    assert "set: 2 repeats of 4 folds; " in (tmp_path / "tables/summary.md").read_text()
    assert set(pd.read_csv(tmp_path / "tables/metrics.csv").fold) == set(range(8))


def test_slides_that_published_folds_test_twice_are_no_repeat(simulate):
    one = simulate(0)
    assert replace(one, folds=np.zeros_like(one.folds)).repeated == 0
    twice = one.select(np.append(np.arange(len(one.targets)), [0, 1]))
    assert replace(twice, folds=np.append(one.folds, [9, 9])).repeated == 2
