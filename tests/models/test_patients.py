"""Bags of several slides: layers see one slide at a time, the head pools the tiles of all."""

import numpy as np
import pytest
import torch

from roformermil.bags.augmentation import ORIENTATIONS, orient
from roformermil.errors import BagError
from roformermil.models import build_model
from roformermil.models.inference import TrainedModel
from roformermil.tasks import make_task
from tests.models import MODELS, POSITIONS

SLIDES = [4, 6, 3, 5]  # tiles
BAGS = [10, 3, 5]  # the first is of two slides
VARIANTS = [(name, {}) for name in MODELS if name != "transmil"] + POSITIONS


def make(name, changed):
    torch.manual_seed(0)
    settings = {"name": name, "hidden_dim": 16, "attention_dim": 8, "num_heads": 2, "dropout": 0.0, **changed}
    model = build_model(settings, 6, 3).eval()
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(sum(SLIDES), 6, generator=generator)
    grid = torch.cat([torch.stack((torch.arange(n) % 3, torch.arange(n) // 3), dim=1) for n in SLIDES])
    return model, features, grid


@pytest.mark.parametrize(("name", "changed"), VARIANTS)
def test_layers_work_on_each_slide_and_the_head_on_all_tiles_of_a_bag(name, changed):
    """Compared with the same layers on each slide alone, whose outputs are joined by hand for the head."""
    model, features, grid = make(name, changed)
    out = model(features, grid, BAGS, SLIDES)
    slides = zip(features.split(SLIDES), grid.split(SLIDES), SLIDES, strict=True)
    x = torch.cat([model._embed(f, g, [n]) for f, g, n in slides])
    expected = model.head(x, grid, BAGS)
    torch.testing.assert_close(out.logits, expected[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.attention, expected[1], rtol=1e-5, atol=1e-6)
    for attention in out.attention.split(BAGS):
        torch.testing.assert_close(attention.sum(dim=0), torch.ones(3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("changed", [{}, {"position": "alibi"}, {"rope_frequencies": "pixel"}])
def test_where_a_slide_lies_relative_to_another_of_the_patient_does_not_count(changed):
    model, features, grid = make("ro-abmil", changed)
    moved = grid.clone()
    moved[: SLIDES[0]] += torch.tensor([7, -3])
    before, after = (model(features, one, BAGS, SLIDES).logits for one in (grid, moved))
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    together = (model(features, one, BAGS).logits[0] for one in (grid, moved))
    assert not torch.allclose(*together, rtol=1e-4, atol=1e-5), "as they would on one grid"


def test_contributions_of_all_slides_sum_to_the_logits_and_a_prediction_is_split_by_slide():
    model, features, grid = make("ro-abmil", {})
    trained = TrainedModel(
        model, make_task("classification", ["a", "b", "c"]), {"unit": "patient"}, torch.float32, torch.device("cpu")
    )
    assert trained.unit == "patient"
    whole = trained.predict(features[:10].numpy(), grid[:10].numpy(), SLIDES[:2])
    expected = model(features[:10], grid[:10], [10], SLIDES[:2]).logits[0].softmax(-1).detach().numpy()
    assert whole.probabilities == pytest.approx(expected, abs=1e-6)
    parts = whole.split(SLIDES[:2])
    assert all((part.probabilities == whole.probabilities).all() for part in parts)
    assert (np.concatenate([part.margins for part in parts]) == whole.margins).all()
    assert sum(part.attention.sum(axis=0) for part in parts) == pytest.approx(np.ones(3), abs=1e-5)
    bias = np.log(whole.probabilities) - whole.contributions.sum(axis=0)
    other = trained.predict(features[10:13].numpy(), grid[10:13].numpy())
    bias_of_other = np.log(other.probabilities) - other.contributions.sum(axis=0)
    assert bias - bias.mean() == pytest.approx(bias_of_other - bias_of_other.mean(), abs=1e-4), "the head's alone"


def test_orientations_are_averaged_slide_by_slide():
    model, features, grid = make("ro-abmil", {"position": "sine"})
    given = (model, make_task("classification", ["a", "b", "c"]), {}, torch.float32, torch.device("cpu"), True)
    whole = TrainedModel(*given).predict(features[:10].numpy(), grid[:10].numpy(), SLIDES[:2])
    with torch.no_grad():
        turned = [torch.cat([orient(one, k) for one in grid[:10].split(SLIDES[:2])]) for k in range(ORIENTATIONS)]
        means = torch.stack([model(features[:10], one, [10], SLIDES[:2]).logits[0].softmax(-1) for one in turned])
    assert whole.probabilities == pytest.approx(means.mean(dim=0).numpy(), abs=1e-6)


def test_slides_that_do_not_make_up_the_bags_and_transmil_are_refused():
    model, features, grid = make("ro-abmil", {})
    for slides in ([4, 6, 4, 4], [4, 5, 3, 5], [10, 0, 3, 5], [4, 9, 5]):
        with pytest.raises(BagError, match="do not consist of slides"):
            model(features, grid, BAGS, slides)
    model, features, grid = make("transmil", {})
    with pytest.raises(BagError, match="transmil lays a bag's tiles out on one grid"):
        model(features, grid, BAGS, SLIDES)
    model(features, grid, SLIDES, SLIDES)
