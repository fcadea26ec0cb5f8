"""Regression: its metrics, strata and scale."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import mean_absolute_error, r2_score

from roformermil.errors import SheetError
from roformermil.tasks import read_task
from roformermil.tasks.regression import Regression

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(50, 5, 30)
PREDICTED = (TRUTH + RANDOM.normal(0, 3, 30))[:, None]


def test_metrics_equal_those_of_libraries_also_without_some_bags():
    weights = np.vstack([np.ones(30), 1 - np.eye(30)])
    values = Regression().weighted_metrics(TRUTH, PREDICTED, weights)
    for row, used in ((0, np.full(30, True)), (5, np.arange(30) != 4)):
        truth, predicted = TRUTH[used], PREDICTED[used, 0]
        assert values["r2"][row] == pytest.approx(r2_score(truth, predicted))
        assert values["pearson"][row] == pytest.approx(pearsonr(truth, predicted)[0])
        assert values["mae"][row] == pytest.approx(mean_absolute_error(truth, predicted))


def test_equal_values_have_no_correlation():
    values = Regression().compute_metrics(np.full(4, 0.3), PREDICTED[:4])
    assert np.isnan([values["r2"], values["pearson"]]).all()
    assert np.isnan(Regression().compute_metrics(TRUTH, np.full((30, 1), 0.1))["pearson"])


def test_the_loss_is_in_variances_of_the_training_labels():
    task = Regression().fit(["1", "3", "5"])
    assert read_task(task.to_json()) == task
    logits = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    torch.testing.assert_close(task.activation(logits)[:, 0].tolist(), [3.0, 3 + float(np.std([1, 3, 5]))])
    loss = task.loss(logits, torch.tensor(task.targets(["3", "3"])))
    torch.testing.assert_close(loss.tolist(), [0.0, 1.0])


def test_strata_are_fifths_or_groups_of_ten_and_keep_equal_values_together():
    strata = Regression().strata([f"{k}" for k in range(50)])
    assert strata == [f"group {k // 10 + 1} of 5" for k in range(50)]
    assert Counter(Regression().strata([f"{k}" for k in range(25)])) == {"group 1 of 2": 13, "group 2 of 2": 12}
    assert set(Regression().strata(["1", "2", "3"])) == {"group 1 of 1"}
    assert len(set(Regression().strata(["1"] * 45 + ["2"] * 5))) == 2


def test_metrics_of_no_bags_are_missing():
    values = Regression().weighted_metrics(np.array([1.0]), np.array([[2.0]]), np.array([[1.0], [0.0]]))
    assert values["mae"][0] == 1 and all(np.isnan(value[1]) for value in values.values())


@pytest.mark.parametrize("label", ["a", "1,5", "nan", "inf"])
def test_other_text_is_refused(label):
    with pytest.raises(SheetError, match="expected a number"):
        Regression().check(label)


def test_guessing_costs_the_variance_and_labels_are_written_as_they_were_read():
    labels = ["3.7", "-1", "20.25"]
    task = Regression().fit(labels)
    assert task.guess_loss(task.targets(labels)) == pytest.approx(1)
    assert task.labels(task.targets([*labels, ""])) == [*labels, ""]
    assert task.describe(labels, ["a", "b", "c"]).startswith("labels -1 to 20.25, mean 7.65")
    assert task.difference_bounds("r2") == (-np.inf, np.inf) and task.difference_bounds("pearson") == (-2, 2)


@pytest.mark.parametrize(("offset", "scale"), [(1e6, 1.0), (0.0, 1e-7)])
def test_metrics_do_not_depend_on_the_units_of_the_label(offset, scale):
    truth, predicted = offset + scale * TRUTH, offset + scale * PREDICTED
    values = Regression().compute_metrics(truth, predicted)
    assert values["r2"] == pytest.approx(r2_score(TRUTH, PREDICTED[:, 0]), abs=1e-6)
    assert values["pearson"] == pytest.approx(pearsonr(TRUTH, PREDICTED[:, 0])[0], abs=1e-6)


def test_equal_training_labels_are_not_divided_by_rounding():
    assert Regression().fit(["0.1"] * 3).std == 1


def test_equal_labels_have_one_spelling():
    spellings = {"1": "1", "1.0": "1", "1e0": "1", "0.30": "0.3", "-0.0": "0", "": ""}
    assert {text: Regression().read_label({"label": text}) for text in spellings} == spellings
