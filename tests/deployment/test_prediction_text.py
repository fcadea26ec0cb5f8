"""What `predict` prints at its end."""

from pathlib import Path

import numpy as np
import pytest

from roformermil.cohort.slide_table import SlideRecord
from roformermil.deployment.model_card import Spread
from roformermil.deployment.prediction_table import prediction_fields, shuffled_fields, table_row
from roformermil.deployment.prediction_text import MOST_ROWS, describe_predictions
from roformermil.models.inference import Prediction

CLASSES = ["inflamed", "excluded"]


def predicted(name, probability, others=(), shuffled=None, warnings="", tiles=1):
    """A row of a slide whose members give the class `excluded` these probabilities; shuffled: of `inflamed`."""
    record = SlideRecord(name, Path(f"{name}.svs"), warnings=warnings)
    row = table_row(record, CLASSES, "id", shuffled is not None)
    one, *members = (Prediction(np.array([1 - p, p]), np.zeros((tiles, 2)), None) for p in (probability, *others))
    row |= prediction_fields(record, one, members or [one], CLASSES, Spread(least=1, median=1, most=9))
    return row | (shuffled_fields(np.array([shuffled, 1 - shuffled]), CLASSES) if shuffled is not None else {})


def lost(name, status="no_mpp", message="give it with --mpp"):
    return table_row(SlideRecord(name, Path(f"{name}.svs"), status=status, message=message), CLASSES, "id")


def test_the_table_has_probability_and_spread_and_lost_slides_follow_with_their_messages(tmp_path):
    rows = [predicted("long_name", 0.8, [0.7, 0.95]), lost("mute"), predicted("b", 0.2, tiles=1234)]
    text = describe_predictions(rows, tmp_path, 40)
    lines = text.splitlines()
    assert lines[0].split() == ["slide", "predicted", "probability", "spread", "tiles"]
    assert lines[1] == "long_name  excluded         0.800   0.250      1"
    assert lines[2] == "b          inflamed         0.800   0.000  1,234"
    assert "1 slide without a prediction:\nmute: no_mpp: give it with --mpp\n" in text
    assert "2 of 3 slides predicted: 1 excluded, 1 inflamed\n" in text
    assert f"Table: {tmp_path}/predictions.csv" in lines


def test_warnings_are_short_and_those_of_a_kind_stand_together(tmp_path):
    rows = [
        predicted("a", 0.8, [0.9, 0.3], warnings="90% of the scan is tissue: it is cropped. Look at it"),
        predicted("b", 0.8, warnings="95% of the scan is tissue: it is cropped. Look at it", tiles=10),
    ]
    expected = ["a: 90% of the scan is tissue", "b: 95% of the scan is tissue"]
    expected += ["a: 1 of 2 members predict another class", "b: 10 tiles, the training slides had 1 to 9"]
    assert "\n".join(expected) in describe_predictions(rows, tmp_path, 40)


def test_of_many_slides_those_with_the_largest_spread_are_shown(tmp_path):
    rows = [predicted(f"s{k}", 0.9, [0.9, 0.9 - k / 1000]) for k in range(MOST_ROWS + 5)]
    text = describe_predictions(rows, tmp_path, 40)
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("s") and "excluded" in line]
    assert shown == [f"s{k}" for k in range(MOST_ROWS + 4, 4, -1)]
    assert f"The {MOST_ROWS} of {MOST_ROWS + 5} slides on which the ensemble's members differ most" in text


def test_predictions_with_shuffled_positions_stand_beside_and_changes_are_counted(tmp_path):
    rows = [predicted("kept", 0.8, shuffled=0.4), predicted("changed", 0.8, shuffled=0.9), lost("mute")]
    text = describe_predictions(rows, tmp_path, 40)
    kept, changed = text.splitlines()[1:3]
    assert kept.split()[-2:] == ["excluded", "0.600"] and changed.split()[-2:] == ["inflamed", "0.900"]
    assert "Shuffling tile positions changes the predicted class of 1 of 2 slides." in text


@pytest.mark.parametrize(
    ("column", "expected"), [("heatmap", "1 heat map"), ("geojson", "tiles for QuPath (.geojson): 1")]
)
def test_where_pictures_are_and_how_to_look_closer(tmp_path, column, expected):
    (tmp_path / "a.svs").write_text("")
    row = predicted("a", 0.8) | {column: "somewhere", "path": tmp_path / "a.svs"}
    text = describe_predictions([row], tmp_path / "o ut", 40)
    assert f"{tmp_path}/o ut/heatmaps: {expected}\n" in text
    assert text.endswith(f"Look closer: roformermil view '{tmp_path}/o ut'")
    assert "view" not in describe_predictions([predicted("a", 0.8)], tmp_path, 40), "a feature store has no picture"
