from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from roformermil.features.store import write_store
from roformermil.models.build import ModelOutput, mil_loss
from roformermil.training import Fit


def test_a_weighted_loss_is_that_of_each_slide_times_its_weight():
    """Also for a batch of one slide, where torch's weighted mean would cancel the weight; both losses of DSMIL are weighted."""
    torch.manual_seed(0)
    logits, labels, weights = torch.randn(4, 2), torch.tensor([0, 1, 1, 0]), torch.tensor([0.5, 3.0])
    out = ModelOutput(logits, torch.ones(4, 2), None)
    each = cross_entropy(logits, labels, reduction="none")
    assert mil_loss(out, labels, [1] * 4, weights) == pytest.approx((each * torch.tensor([0.5, 3, 3, 0.5])).mean())
    one = ModelOutput(logits[1:2], torch.ones(1, 2), None)
    assert mil_loss(one, labels[1:2], [1], weights) == pytest.approx(3 * each[1])
    instances = out._replace(instance_logits=logits)
    assert mil_loss(instances, labels, [1] * 4, weights) == pytest.approx(mil_loss(out, labels, [1] * 4, weights))
    assert mil_loss(out, labels, [1] * 4, torch.ones(2)) == pytest.approx(mil_loss(out, labels, [1] * 4))


@pytest.fixture
def unequal(job):
    """unequal(**training settings): a job with three times as many slides of class a in training."""

    def make(**training):
        made = job("abmil", **training)
        of_b = [row for row in made.rows if (row.part, row.label) == ("train", "b")]
        return replace(made, rows=[row for row in made.rows if row not in of_b[len(of_b) // 3 :]])

    return make


def test_a_balanced_sampler_draws_all_classes_equally_often(unequal):
    fit = Fit(unequal(sampler="balanced"))
    train = fit.slides("train")
    drawn = [fit._draw_slides() for _ in range(400)]
    assert all(len(order) == len(train) and set(order) <= set(train) for order in drawn)
    labels = [fit.data.targets[k] for order in drawn for k in order]
    assert np.mean(labels) == pytest.approx(0.5, abs=0.03)
    counts = Counter(k for order in drawn for k in order if fit.data.targets[k] == 0)
    assert max(counts.values()) < 1.5 * min(counts.values()), "slides of a class equally often"
    assert all(sorted(Fit(unequal())._draw_slides()) == train for _ in range(2))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"class_weights": "balanced"},
        {"sampler": "balanced"},
        {"class_weights": [1, 9]},
        {"class_weights": [1, 3], "sampler": "balanced"},
    ],
)
def test_probabilities_are_fitted_to_the_frequencies_that_training_makes(unequal, settings):
    """Of slides that are all alike, a model can learn nothing else. Losses of validation slides are weighted likewise."""
    made = unequal(epochs=8, epoch_steps=20, learning_rate=5e-3, normalize="none", **settings)
    grid = np.stack([np.arange(3), np.zeros(3, int)], axis=1)
    for row in made.rows:
        write_store(made.stores / f"{row.slide_id}.zarr", np.ones((3, 16)), grid * 256, grid, {})
    fit = Fit(made)
    for epoch in range(8):
        fit.epoch(epoch)
    loss, probabilities, labels = fit.evaluate("validation")
    assert fit.balance.frequencies[1] < 0.3
    assert probabilities[:, 1].mean() == pytest.approx(fit.balance.effective[1], abs=0.1)
    each = -np.log(probabilities[np.arange(len(labels)), labels])
    assert loss == pytest.approx(np.average(each, weights=fit.balance.per_slide[labels]), rel=1e-5)
