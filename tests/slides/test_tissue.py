import json

import cv2
import numpy as np
import pytest

from roformermil.config import Tissue
from roformermil.slides.tissue import draw_outline, mask_to_geojson, segment, tissue_warnings
from tests.factories import raises_slide_error

PINK, WHITE = (220, 150, 190), (244, 244, 244)


@pytest.fixture
def image():
    """200 x 300: a pink 100 x 120 square with a 30 px hole, a 5 px hole and a 6 px speck elsewhere."""
    image = np.full((200, 300, 3), WHITE, np.uint8)
    image[50:150, 40:160] = PINK
    image[80:110, 80:110] = WHITE
    image[130:135, 130:135] = WHITE
    image[20:26, 250:256] = PINK
    return image


def test_small_regions_are_dropped_and_small_holes_filled_by_their_areas_in_square_micrometres(image):
    mask = segment(image, Tissue(method="hsv", median=1, close=1, mpp=8))
    # tissue; a hole of 57600 um^2, which stays; one of 1600 um^2, which is filled; a dropped speck of 2304 um^2
    assert [mask[60, 50], mask[95, 95], mask[132, 132], mask[23, 253]] == [True, False, True, False]
    assert mask.sum() == 100 * 120 - 30 * 30
    kept = segment(image, Tissue(method="hsv", median=1, close=1, mpp=8, min_area=36 * 64, min_hole=0))
    assert kept[23, 253] and not kept[132, 132]
    assert not segment(image, Tissue(method="hsv", median=1, close=1, mpp=4, min_area=36 * 64, min_hole=0))[23, 253]


def test_a_discoloured_edge_is_not_tissue_and_tissue_reaches_the_edge(image):
    image[:, -2:], image[-2:] = (212, 255, 203), (212, 255, 203)  # as a coarse JPEG level may end
    image[60:140, :40] = PINK
    mask = segment(image, Tissue(method="hsv", median=1, close=1))
    assert not mask[:, -2:].any() and not mask[-2:].any() and mask[100, 0]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 9])
def test_closing_closes_gaps_and_moves_nothing(width):
    image = np.full((120, 120, 3), WHITE, np.uint8)
    image[20:60, 30:90] = PINK
    settings = Tissue(method="hsv", median=1, close=width, min_hole=0)
    assert np.array_equal(segment(image, settings), (image == PINK).all(axis=2))
    image[20:60, 50:53] = WHITE  # a gap of three pixels
    assert segment(image, settings)[40, 51] == (width > 3)


def test_otsu_chooses_the_threshold(image):
    pale = (image.astype(int) * 0.1 + 225).clip(0, 255).astype(np.uint8)
    assert segment(pale, Tissue(method="otsu"))[60, 50]


def test_fluorescence_is_not_brightfield():
    with raises_slide_error("not_brightfield"):
        segment(np.full((50, 50, 3), 10, np.uint8), Tissue())


WARNINGS = {
    "nothing": (slice(0, 0), slice(0, 0), None),
    "half, in the middle": (slice(20, 80), slice(10, 90), None),
    "0.5%": (slice(20, 25), slice(10, 20), "only 0.5% of the scan is tissue: pale tissue may have been missed"),
    "more than two sides": (slice(0, 100), slice(0, 70), "60% of the scan's border is tissue: it is cropped"),
    "all but a corner": (slice(0, 99), slice(0, 98), "97% of the scan is tissue: it is cropped tightly, or glass was"),
}


@pytest.mark.parametrize("case", WARNINGS)
def test_masks_with_an_odd_amount_of_tissue_have_a_warning(case):
    rows, columns, start = WARNINGS[case]
    mask = np.zeros((100, 100), bool)
    mask[rows, columns] = True
    warnings = tissue_warnings(mask)
    assert [warning[: len(start or "")] for warning in warnings] == [start] * (start is not None)
    assert all("; " not in warning and "slide sheet: column tissue" in warning for warning in warnings)


def test_polygons_enclose_the_mask_and_the_outline_covers_little_of_the_picture(image):
    mask = segment(image, Tissue(method="hsv", median=1, close=1))
    (feature,) = json.loads(mask_to_geojson(mask, (3000, 2000)))["features"]
    rings = feature["geometry"]["coordinates"]
    assert len(rings) == 2 and all(ring[0] == ring[-1] for ring in rings)
    drawn = np.zeros((2000, 3000), np.uint8)
    for ring, value in zip(rings, (1, 0), strict=True):
        cv2.fillPoly(drawn, [np.array(ring).round().astype(np.int32)], value)
    assert abs(drawn.mean() - mask.mean()) < 0.01 * mask.mean()
    outlined = draw_outline(image, segment(image, Tissue()))
    assert outlined.shape == image.shape and 0 < (outlined != image).any(axis=2).mean() < 0.05
