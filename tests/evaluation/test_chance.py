import pandas as pd
import pytest

from roformermil.evaluation.chance import chance_notes, chance_warning

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


def test_a_note_names_the_models_of_a_data_set_that_are_no_better():
    rows = [
        ("x", "net", "good", "auroc", 0.8, 0.7, 0.9),
        ("x", "net", "poor", "auroc", 0.6, 0.4, 0.8),
        ("x", "net", "poor", "accuracy", 0.9, 0.8, 1.0),
        ("x", "net", "same", "auroc", 0.5, None, None),
        ("y", "net", "good", "auroc", 1.0, None, None),
    ]
    summary = pd.DataFrame(rows, columns=["dataset", "encoder", "model", "metric", "mean", "ci_low", "ci_high"])
    assert chance_notes(summary) == {("x", "net"): "x: not measurably better than chance: poor, same"}
