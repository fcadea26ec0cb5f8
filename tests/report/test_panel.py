"""The layout of a heat map panel, and its sentences, from arrays."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.overlay import BLUE_WHITE_RED, RED, Overlay, Scale
from roformermil.report.heatmaps.panel import COLUMN_GAP, TILE_PX, WIDTH, PanelText, Strip, draw_panel, glass_trimmed
from roformermil.report.heatmaps.picture import FONT, draw_scale_bar, length_text, wrap
from roformermil.report.heatmaps.sentences import describe_maps, describe_prediction
from roformermil.report.heatmaps.values import is_even, is_negligible, short_text, tiles_with_half

LONG = "adenocarcinoma of the colon with a mucinous component of more than half"
CLASSES = ["benign", "malignant"]


def overlay(shape, title="Contribution to malignant"):
    picture = Image.fromarray(np.full((*shape, 3), (90, 90, 90), np.uint8))
    ticks = [(0.0, "< -0.12"), (0.5, "0"), (1.0, "> +0.12")]
    return Overlay("contribution", title, picture, Scale(BLUE_WHITE_RED, ticks, f"log-odds per tile: red for {LONG}"))


def panel(shape, text, overlays=2, tiles=8, **overlay_settings):
    whole = np.full((*shape, 3), (90, 90, 90), np.uint8)
    strip = Strip("Tiles with the highest contribution", [(np.zeros((TILE_PX, TILE_PX, 3), np.uint8), "+0.1")] * tiles)
    box = (0, 0, shape[1], shape[0])
    maps = [overlay(shape, **overlay_settings) for _ in range(overlays)]
    return np.asarray(draw_panel(text, whole, maps, [strip] if tiles else [], box, 4.0)).astype(int)


@pytest.mark.parametrize("shape", [(300, 300), (1000, 200), (200, 300), (120, 1100)])
def test_a_panel_fills_its_width_for_slides_of_any_form(shape):
    """The maps take up most of the width, or of the height that they may have."""
    drawn = panel(shape, PanelText("s1"), tiles=0)
    assert drawn.shape[1] == WIDTH + 2 * COLUMN_GAP
    grey = np.abs(drawn - 90).max(axis=2) < 3
    assert grey.any(axis=0).mean() > 0.6 or grey.any(axis=1).mean() > 0.8
    ends = np.flatnonzero((drawn < 250).any(axis=(0, 2)))[[0, -1]]
    assert ends[0] >= COLUMN_GAP and ends[1] < drawn.shape[1] - COLUMN_GAP + 1


@pytest.mark.parametrize("is_wrong", [True, False])
def test_long_names_are_not_cut_and_the_title_is_red_if_the_prediction_is_wrong(is_wrong):
    """A slide's name as TCGA's are, and one without a place to break it."""
    title = (
        f"TCGA-46-6026-01Z-00-DX1.e0248ea6-ae04-4960-95a8-f39b8e168a38{'x' * 200}: predicted {LONG}, labelled {LONG}"
    )
    drawn = panel((560, 60), PanelText(title, is_wrong), tiles=0, title=f"Contribution to {LONG}")
    assert not (drawn[:, :COLUMN_GAP] < 128).any() and not (drawn[:, -COLUMN_GAP:] < 128).any(), "ink in the margin"
    is_red = (np.abs(drawn - RED).max(axis=2) < 5).any(axis=1)
    assert is_red.any() == is_wrong


def test_lines_are_broken_between_words_and_lose_nothing():
    text = f"{LONG} {'x' * 300} end"
    lines = wrap(text, 400, FONT)
    assert all(FONT.getlength(line) <= 400 for line in lines) and "".join(lines).replace(" ", "") == text.replace(
        " ", ""
    )
    assert wrap("two words", 400, FONT) == ["two words"] and wrap("", 400, FONT) == [""]


def test_blank_glass_around_tissue_is_trimmed_but_no_tile():
    whole = np.full((500, 1000, 3), 245, np.uint8)
    assert glass_trimmed(whole, np.empty((0, 2, 2), int)) == (0, 0, 1000, 500), "all glass"
    whole[200:300, 400:600] = (200, 120, 170)
    assert glass_trimmed(whole, np.empty((0, 2, 2), int)) == (380, 180, 620, 320)
    assert glass_trimmed(whole, np.array([[[800, 100], [900, 200]]])) == (380, 80, 920, 320)


@pytest.mark.parametrize(("um_per_px", "length"), [(1.0, 100), (3.0, 200 / 3), (40.0, 50)])
def test_the_scale_bar_is_as_long_as_it_says(um_per_px, length):
    """100 um, 200 um and 2 mm of a picture of 401 px."""
    picture = Image.new("RGB", (401, 300), "grey")
    draw_scale_bar(picture, um_per_px)
    dark = (np.asarray(picture)[286, :, 0] < 60).sum()
    assert dark == pytest.approx(length, abs=1.5)
    assert length_text(100) == "100 um" and length_text(2000) == "2 mm" and length_text(500.0) == "500 um"


def predicted(probabilities, contributions, attention=None):
    contributions = np.array(contributions, float)
    attention = np.ones_like(contributions) if attention is None else np.array(attention)[:, None].repeat(2, axis=1)
    return Prediction(np.array(probabilities), attention / attention.sum(axis=0), contributions)


def test_the_title_tells_prediction_and_label():
    up = predicted([0.4, 0.6], [[-0.2, 0.2]])
    assert describe_prediction(up, CLASSES) == "predicted malignant (probability 0.60)"
    assert describe_prediction(up, CLASSES, "malignant") == "predicted malignant (probability 0.60), labelled malignant"
    assert describe_prediction(up, CLASSES, "benign").endswith("labelled benign: wrong")
    assert "(probability over 0.99)" in describe_prediction(predicted([0.001, 0.999], [[0, 0]]), CLASSES)


def test_sentences_tell_how_far_the_tiles_move_the_odds_of_the_class_that_they_speak_for():
    baseline, colours = "the model's baseline.", "Red speaks for malignant, blue for benign; pale counts little."
    up = predicted([0.4, 0.6], [[-0.2, 0.2], [-0.25, 0.266]])  # log-odds of 0.916
    sentence = f"{colours} Together, the tiles raise the odds of malignant 2.5 times over {baseline}"
    assert describe_maps(up, 1, CLASSES)[0] == sentence
    down = describe_maps(predicted([0.6, 0.4], [[3.5, -3.6]]), 1, CLASSES)[0]
    assert down == f"{colours} Together, the tiles raise the odds of benign 1,200 times over {baseline}"
    assert "malignant more than 1,000,000 times" in describe_maps(predicted([0, 1], [[-500, 500]]), 1, CLASSES)[0]
    none = describe_maps(predicted([0.5, 0.5], [[-0.01, 0.01]]), 1, CLASSES)[0]
    assert none.endswith("Together, the tiles hardly change the odds of malignant.")
    three = describe_maps(predicted([0.1, 0.1, 0.8], [[0, 0, 1]]), 2, ["a", "b", "c"])[0]
    assert "blue against it" in three
    assert three.endswith(f"raise the odds of c against the other classes 2.7 times over {baseline}")
    lower = describe_maps(predicted([0.1, 0.1, 0.8], [[0, 0, -1]]), 2, ["a", "b", "c"])[0]
    assert lower.endswith(f"lower the odds of c against the other classes 2.7 times below {baseline}")
    assert len(describe_maps(replace(up, contributions=None), 1, CLASSES)) == 1


def test_sentences_tell_where_attention_is():
    even = predicted([0.5, 0.5], np.zeros((4, 2)), [1.0, 1.04, 0.98, 0.98])
    text = describe_maps(even, 1, CLASSES)[1]
    assert text.startswith("Attention is even (grey): no tile has more than 1.04 times the mean of all tiles")
    peaked = predicted([0.5, 0.5], np.zeros((4, 2)), [5.0, 1.0, 1.0, 1.0])
    assert describe_maps(peaked, 1, CLASSES)[1] == "Half of the attention is on 1 of 4 tiles."


def test_sentences_tell_what_shuffled_positions_change():
    own = predicted([0.1, 0.9], [[-1, 1], [-1, 1]])

    def sentence(malignant, contributions, prediction=own):
        shuffled = predicted([1 - malignant, malignant], contributions)
        if prediction.margins is None:
            shuffled = replace(shuffled, contributions=None)
        return describe_maps(prediction, 1, CLASSES, shuffled)[-1]

    assert sentence(0.9, own.contributions).startswith("Shuffling the tiles' positions hardly changes")
    assert sentence(0.2, [[1, -1], [0, 0]]) == (
        "With the tiles' positions shuffled, the model would predict benign (0.80): where tiles lie decides this prediction."
    )
    assert "takes the probability of malignant from 0.90 to 0.60:" in sentence(0.6, [[0, 0], [-1, 1]])
    assert sentence(0.9, [[-2, 2], [0, 0]]).endswith("changes what tiles contribute, but not the prediction.")
    without = replace(own, contributions=None)  # TransMIL
    assert sentence(0.9, own.contributions, without).endswith("positions does not change the prediction.")


def test_even_means_that_no_tile_is_far_from_the_mean():
    assert is_even(np.array([0.25, 0.25, 0.3, 0.2])) and is_even(np.array([1.0]))
    assert not is_even(np.array([1.0, 1, 1, 2.2])), "one tile has more"
    assert not is_even(np.array([1.0, 1, 1, 0.4])), "one tile has less"
    assert tiles_with_half(np.array([0.1, 0.3, 0.2, 0.4])) == 2


def test_contributions_are_negligible_if_all_tiles_with_the_strongest_would_hardly_change_the_odds():
    assert is_negligible(np.array([0.0003, -0.0009] * 50)) and not is_negligible(np.array([0.0003, -0.0011] * 50))


def test_values_are_short_and_have_no_exponent():
    assert [short_text(v) for v in (12.34, 123456, 0.00041, -0.25, 1.0)] == ["12", "120,000", "0.00041", "-0.25", "1.0"]
    assert [short_text(v, "+") for v in (0.0041, 6e-5, -3e-5, 0.0)] == ["+0.0041", "+0.000060", "-0.000030", "+0"]
