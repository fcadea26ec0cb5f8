"""Survival: the likelihood, the risk and the C-index."""

import numpy as np
import pytest
import torch

from roformermil.errors import SheetError
from roformermil.tasks import read_task
from roformermil.tasks.survival import Survival, concordance, survival_label

TASK = Survival((1.0, 2.0, 3.0, 4.0))


def test_the_loss_is_the_likelihood_of_what_was_seen():
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hazards = logits.sigmoid()
    survival = (1 - hazards).cumprod(dim=1)
    expected = [
        hazards[0, 0],  # an event in the first interval
        survival[1, 1] * hazards[1, 2],  # in the third, at its end
        survival[2, 1],  # lost from sight in the third: two were survived
        survival[3, 3],  # after all
        torch.ones((), dtype=torch.float64),  # lost in the first: nothing is known
    ]
    loss = TASK.loss(logits, torch.tensor(TASK.targets(["0.5", "3", "2.5+", "9", "0.5+"])))
    torch.testing.assert_close(loss, -torch.stack(expected).log())


def test_fitting_one_logit_per_interval_gives_the_life_table():
    """The hazards of greatest likelihood are the events of an interval over those who entered it and were not lost in it."""
    labels = ["1", "1.5", "2", "2+", "2.5", "3", "3.5", "3.6+", "4", "4+"]
    task = Survival((2.0, 4.0))
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=100, tolerance_grad=1e-12)

    def closure():
        optimiser.zero_grad()
        loss = task.loss(logits.expand(len(labels), 2), torch.tensor(task.targets(labels))).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(logits.sigmoid().tolist(), [3 / 10, 4 / 5], atol=1e-5, rtol=0)
    assert task.guess_loss(task.targets(labels)) == pytest.approx(closure().item() / len(labels))


def test_predictions_are_the_survival_at_each_end_and_the_risk():
    predictions = TASK.activation(torch.tensor([[0.0, -1.0, 1.0, 2.0]], dtype=torch.float64))[0]
    survival = np.cumprod(1 - 1 / (1 + np.exp([0.0, 1.0, -1.0, -2.0])))
    np.testing.assert_allclose(predictions, [1 - survival.mean(), *survival])
    assert len(predictions) == len(TASK.columns)


def test_intervals_share_the_events_and_survive_as_text():
    task = Survival().fit([*map(str, range(1, 11)), "100+"])
    assert task.ends == (2, 4, 6, 8)
    assert read_task(task.to_json()) == task


def test_concordance_equals_that_of_two_libraries():
    """scikit-survival 0.28.0, concordance_index_censored, and lifelines 0.30.3, concordance_index, give 0.7298969 to these data."""
    random = np.random.default_rng(0)
    times, events = np.round(random.exponential(10, 40), 0) + 1, random.random(40) < 0.5
    risks = np.round(-times / 10 + random.normal(0, 1, 40), 1)  # with ties in both
    weights = np.vstack([np.ones(40), 1 - np.eye(40)])
    values = concordance(times, events, risks, weights)
    assert values[0] == pytest.approx(0.7298969072164948)
    without = np.arange(40) != 7
    alone = concordance(times[without], events[without], risks[without], np.ones((1, 39)))
    assert values[8] == pytest.approx(alone[0])


def test_no_pair_to_compare_is_no_number():
    assert np.isnan(concordance(np.array([1.0, 2.0]), np.array([False, False]), np.zeros(2), np.ones((1, 2)))).all()


@pytest.mark.parametrize(
    ("time", "event", "label"),
    [("12.5", "1", "12.5"), ("12.50", "0.0", "12.5+"), ("1E3", "1.0", "1000"), (".5", "0", "0.5+"), ("", "", "")],
)
def test_a_label_is_a_time_with_a_plus_where_no_event_was_seen(time, event, label):
    assert survival_label(time, event) == label
    assert not label or TASK.check(label) is None


@pytest.mark.parametrize(("time", "event"), [("-1", "1"), ("", "1"), ("3", ""), ("3", "dead"), ("3+", "1")])
def test_cells_that_are_no_time_or_no_event_are_refused(time, event):
    with pytest.raises(SheetError, match="time|event"):
        survival_label(time, event)


def test_labels_are_written_as_they_were_read():
    labels = ["42", "42+", "0.5", "1234.5678+", ""]
    assert TASK.labels(TASK.targets(labels)) == labels


def test_few_events_are_told_by_the_group_with_an_event():
    assert TASK.groups(TASK.targets(["1", "2+", ""]))["with an event"].tolist() == [True, False, False]
    assert TASK.describe(["1", "2+", "3"], ["a", "a", "a"]) == "2 with an event (1 patient), the others censored"
