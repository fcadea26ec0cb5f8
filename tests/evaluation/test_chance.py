import pytest

from roformermil.evaluation.chance import chance_warning

CHANCE, WORSE = "m on set is not distinguishable from chance", "m on set is worse than chance"


@pytest.mark.parametrize(
    ("mean", "low", "high", "start"),
    [
        (0.6, 0.45, 0.75, f"{CHANCE}: its AUROC is 0.60, 95% interval 0.45 to 0.75"),
        (0.6, 0.5, 0.7, CHANCE),
        (0.6, 0.51, 0.7, ""),
        (0.3, 0.2, 0.4, WORSE),
        (1.0, None, None, ""),  # a perfect score has no interval
        (0.5, None, None, "m on set is not better than chance: its AUROC is 0.50"),  # nor have equal probabilities
        (None, None, None, ""),  # no fold tests every class
    ],
)
def test_a_model_whose_interval_includes_that_of_guessing_has_a_warning(mean, low, high, start):
    warning = chance_warning("m on set", mean, low, high)
    assert warning.startswith(start) and bool(warning) == bool(start)
