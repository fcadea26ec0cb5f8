import numpy as np
import pytest

from roformermil.models.inference import Prediction, average_predictions


def answer(seed, classes=3, contributions=True):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes))
    return Prediction(p, rng.dirichlet(np.ones(5), classes).T, rng.normal(size=(5, classes)) if contributions else None)


def test_an_ensembles_answer_is_the_mean_of_its_members():
    one, other = answer(0), answer(1)
    both = average_predictions([one, other])
    for name in ("probabilities", "attention", "contributions"):
        assert getattr(both, name) == pytest.approx((getattr(one, name) + getattr(other, name)) / 2)
    assert average_predictions([one, answer(1, contributions=False)]).contributions is None


@pytest.mark.parametrize("classes", [2, 3])
def test_margins_are_what_softmax_sees(classes):
    """With two classes a tile's share of the log-odds; with more, of a logit over the mean of the others'."""
    one = answer(2, classes)
    for c in range(classes):
        others = np.delete(one.contributions, c, axis=1).mean(axis=1)
        assert one.margins[:, c] == pytest.approx(one.contributions[:, c] - others)
    alike = Prediction(one.probabilities, one.attention, one.contributions + np.arange(5)[:, None])
    assert alike.margins == pytest.approx(one.margins), "what is added to all logits alike is nothing"
    assert answer(3, contributions=False).margins is None
