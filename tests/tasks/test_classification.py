"""Classification as a task: labels, targets, loss."""

import numpy as np
import pytest
import torch

from roformermil.errors import SheetError
from roformermil.tasks import make_task, read_task

TASK = make_task("classification", ["tumor", "normal", "other"])


def test_targets_are_indices_and_slides_without_a_label_are_told_apart():
    targets = TASK.targets(["other", "", "tumor"])
    assert targets.tolist() == [2, -1, 0] and TASK.are_known(targets).tolist() == [True, False, True]
    with pytest.raises(ValueError, match="'tumour' is not one of tumor, normal, other"):
        TASK.targets(["tumour"])


def test_a_misspelt_class_is_answered_with_the_right_one():
    with pytest.raises(SheetError, match="did you mean 'tumor'"):
        TASK.check("Tumour")


def test_the_loss_is_cross_entropy_and_predictions_are_probabilities():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    loss = TASK.loss(logits, torch.from_numpy(TASK.targets(["normal", "other"])))
    torch.testing.assert_close(loss.mean(), torch.nn.CrossEntropyLoss()(logits, torch.tensor([1, 2])))
    assert TASK.activation(logits).sum(dim=1).tolist() == pytest.approx([1, 1])


def test_the_task_survives_as_text():
    assert read_task(TASK.to_json()) == TASK
    assert TASK.columns == ["probability_tumor", "probability_normal", "probability_other"]
    assert TASK.bounds_of("auroc") == (0, 1)


def test_every_metric_named_is_computed():
    for name in ("classification", "survival", "regression"):
        task = make_task(name, ["a", "b"])
        labels = {"classification": ["a", "b"] * 4, "survival": ["1", "2+", "3", "4+"] * 2}.get(name, list("12345678"))
        task = task.fit(labels)
        predictions = task.activation(torch.randn(8, len(task.outputs), dtype=torch.float64)).numpy()
        computed = task.compute_metrics(task.targets(labels), predictions)
        weighted = task.weighted_metrics(task.targets(labels), predictions, np.ones((1, 8)))
        assert set(computed) == set(weighted) == set(task.metrics) >= set(task.compared)
        assert predictions.shape[1] == len(task.columns)
        assert {key: pytest.approx(value[0]) for key, value in weighted.items()} == computed


def test_groups_labels_and_words_are_those_of_the_classes():
    task = make_task("classification", ["a", "b"])
    targets = task.targets(["b", "a", ""])
    assert task.labels(targets) == ["b", "a", ""]
    assert {name: rows.tolist() for name, rows in task.groups(targets).items()} == {
        "of class a": [False, True, False],
        "of class b": [True, False, False],
    }
    assert task.describe(["a", "a", "b"], ["p", "p", "q"]) == "2 a (1 patients), 1 b (1 patients)"
    assert task.guess_loss(targets) == pytest.approx(np.log(2))
