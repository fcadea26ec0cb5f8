import numpy as np
from PIL import Image

from roformermil.report.heatmaps.overlay import Overlay
from roformermil.report.heatmaps.panel import draw_panel


def test_long_names_are_not_cut():
    """On a slide that is tall and narrow, under a name as TCGA's are."""
    whole = np.full((560, 60, 3), 255, np.uint8)
    colours = np.zeros((256, 3))
    one = Overlay(
        "attention", "attention for a class whose name is long indeed", Image.fromarray(whole), "least", "most", colours
    )
    title = "TCGA-46-6026-01Z-00-DX1.e0248ea6-ae04-4960-95a8-f39b8e168a38: adenocarcinoma, probability 0.980; labelled squamous; "
    drawn = np.asarray(draw_panel(title + "all tiles together -24 log-odds of squamous", False, whole, [one, one], []))
    ink = (drawn < 128).any(axis=2)
    assert not ink[:, -3:].any(), "ink at the edge"
