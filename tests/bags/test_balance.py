import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from roformermil.bags.balance import class_balance
from roformermil.config import Config, Training
from roformermil.config.base import read_settings
from roformermil.errors import ConfigError

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_balanced_weights_are_scikit_learns():
    balance = class_balance(LABELS, 3, Training(class_weights="balanced"))
    assert balance.weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=LABELS))
    assert balance.effective == pytest.approx([1 / 3] * 3) and not balance.is_plain
    assert balance.per_slide[LABELS].mean() == pytest.approx(1)


def test_a_balanced_sampler_has_the_effect_of_balanced_weights():
    drawn, weighted = (class_balance(LABELS, 3, Training(**{key: "balanced"})) for key in ("sampler", "class_weights"))
    assert drawn.per_slide == pytest.approx(weighted.per_slide)
    assert drawn.weights == pytest.approx([1, 1, 1]), "in the loss they would count twice"


def test_given_weights_are_relative():
    one, other = (class_balance(LABELS, 3, Training(class_weights=weights)) for weights in ([1, 2, 4], [2, 4, 8]))
    assert one.weights == pytest.approx(other.weights) and one.weights / one.weights[0] == pytest.approx([1, 2, 4])
    assert one.weights[LABELS].mean() == pytest.approx(1)
    assert one.effective == pytest.approx(np.array([60, 60, 40]) / 160)
    assert len({Training(class_weights=[1, 2]), Training(class_weights=[1.0, 2.0])}) == 1, (
        "variants are keys of a mapping"
    )
    both = class_balance(LABELS, 3, Training(class_weights=[1, 2, 4], sampler="balanced"))
    assert both.effective == pytest.approx(np.array([1, 2, 4]) / 7)


def test_every_slide_counts_the_same_by_default():
    balance = class_balance(LABELS, 3, Training())
    assert (
        balance.is_plain
        and balance.weights == pytest.approx([1] * 3)
        and balance.drawn == pytest.approx([0.6, 0.3, 0.1])
    )


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="has 2 values, but there are 3 classes"):
        class_balance(LABELS, 3, Training(class_weights=[1, 2]))
    datasets = {"d": {"slides": "s.csv", "root": ".", "classes": ["a", "b"]}}
    for training, message in (
        ({"class_weights": [1, 2, 3]}, r"class_weights: 3 values, but the classes of d are 2: a, b"),
        ({"class_weights": [1, 0]}, r"training\.class_weights\.2: Input should be greater than 0"),
        ({"class_weights": "balance"}, r"training\.class_weights: 'balance' is none of none, balanced"),
        ({"class_weights": "balanced", "sampler": "balanced"}, "do the same twice: leave one out"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_settings(Config, {"datasets": datasets, "training": training})
