"""The numbers of config/paper.yaml, of which a user has results: what changes them must be meant to."""

from dataclasses import replace

import pytest

from roformermil.config import load_config
from roformermil.training import Fit
from tests import ROOT

LOSSES = {  # of training and validation in two epochs, by model
    "ro-abmil": [0.6453, 0.4654, 0.4742, 0.3065],
    "abmil": [0.6613, 0.4780, 0.5055, 0.3369],
    "ro-dsmil": [0.6773, 0.2034, 0.2656, 0.0683],
    "dsmil": [0.5872, 0.1631, 0.2883, 0.0716],
    "transmil": [0.6800, 0.1960, 0.2857, 0.0854],
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_papers_configuration_trains_as_before(job, name):
    """To two digits: processors and libraries differ in the last ones."""
    config = load_config(ROOT / "config/paper.yaml")
    (model,) = (one for one in config.models if one.id == name)
    training = config.training.model_copy(update={"epochs": 2, "precision": "fp32"})
    fit = Fit(replace(job(), model=model, training=training))
    for epoch in range(2):
        fit.epoch(epoch)
    losses = [row[key] for row in fit.history for key in ("train_loss", "validation_loss")]
    assert losses == pytest.approx(LOSSES[name], abs=5e-3)
