import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from roformermil.errors import BagError, ModelError
from roformermil.models import build_model
from roformermil.models.inference import Prediction, TrainedModel, average_predictions, load_model
from roformermil.tasks import make_task


def random_prediction(seed, classes=3, contributions=True):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes))
    return Prediction(p, rng.dirichlet(np.ones(5), classes).T, rng.normal(size=(5, classes)) if contributions else None)


def test_an_ensembles_prediction_is_the_mean_of_its_members():
    one, other = random_prediction(0), random_prediction(1)
    both = average_predictions([one, other])
    for name in ("probabilities", "attention", "contributions"):
        assert getattr(both, name) == pytest.approx((getattr(one, name) + getattr(other, name)) / 2)
    assert average_predictions([one, random_prediction(1, contributions=False)]).contributions is None


@pytest.mark.parametrize("classes", [2, 3])
def test_margins_compare_a_class_with_the_mean_of_the_others(classes):
    one = random_prediction(2, classes)
    for c in range(classes):
        others = np.delete(one.contributions, c, axis=1).mean(axis=1)
        assert one.margins[:, c] == pytest.approx(one.contributions[:, c] - others)
    shifted = Prediction(one.probabilities, one.attention, one.contributions + np.arange(5)[:, None])
    assert shifted.margins == pytest.approx(one.margins), "what a tile adds to all logits changes nothing"
    assert random_prediction(3, contributions=False).margins is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_features_that_give_no_finite_output_are_an_error(value):
    torch.manual_seed(0)
    model = build_model({"name": "ro-abmil", "hidden_dim": 16, "num_heads": 2}, 4, 2).eval()
    trained = TrainedModel(model, make_task("classification", ["a", "b"]), {}, torch.float32, torch.device("cpu"))
    features, grid = np.ones((3, 4), np.float32), np.zeros((3, 2), np.int32)
    assert trained.predict(features, grid).probabilities.sum() == pytest.approx(1)
    features[1, 2] = value
    with pytest.raises(BagError, match="not finite: do the features contain NaN, infinity or very large values"):
        trained.predict(features, grid)


def test_a_file_that_is_no_trained_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="is a folder: give the model.safetensors in it"):
        load_model(tmp_path)
    (tmp_path / "text.safetensors").write_text("no model")
    save_file({"w": np.zeros(1)}, tmp_path / "other.safetensors", {"author": "someone"})
    for name in ("missing", "text", "other"):
        with pytest.raises(ModelError, match=f"{name}.safetensors: not a model.safetensors written by roformermil"):
            load_model(tmp_path / f"{name}.safetensors")
