"""Heat maps of one slide: where a model looked, what it found there, at the right place.

A sheet to look at (`{slide_id}.jpg`), the slide under each kind of values (`.attention.png`, `.contribution.png`), and tiles
with their values for QuPath (`.geojson`).
"""

from pathlib import Path

import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.geojson import tiles_to_geojson
from roformermil.report.heatmaps.overlay import overlays
from roformermil.report.heatmaps.panel import STRIP, TILE, draw_panel
from roformermil.runtime.files import atomic_path, write_text
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.thumbnails import read_thumbnails

SIDE = 1120  # pixels: an overlay's longer side


def write_heatmaps(
    row: SlideRecord,
    features: SlideFeatures,
    answer: Prediction,
    classes: list[str],
    out: Path,
    label: str = "",
    timeout: float = 600,
) -> None:
    """Write a slide's heat maps into `out`: of two classes for the second, whatever is decided, so that red means the same on all
    slides; of more for the class that is decided for.

    row: its place and content; features: what the answer was given to; label: what it is, where that is known.
    Raises SlideError when the slide cannot be read, or is no longer the one that the features are of.
    """
    decided = int(answer.probabilities.argmax())
    shown = 1 if len(classes) == 2 else decided
    values = (answer.attention if answer.margins is None else answer.margins)[:, shown]
    order = np.argsort(-values, kind="stable")
    strip = [*order[:STRIP], *order[max(STRIP, len(order) - STRIP) :]]
    step = int(features.attributes["base_px"])
    content = str(features.attributes.get("slide", ""))
    views = run_in_subprocess(
        read_thumbnails, row, features.coords[strip].tolist(), step, SIDE, TILE, content, timeout=timeout
    )
    maps = list(overlays(views, features, answer, shown, classes))
    said = f"{row.slide_id}: {classes[decided]}, probability {answer.probabilities[decided]:.3f}"
    said += f"; labelled {label}" if label else ""
    if answer.margins is not None:
        said += f"; all tiles together {values.sum():+.2g} log-odds of {classes[shown]}, the rest is the model's bias"
    wrong = bool(label) and label != classes[decided]
    for one in maps:
        with atomic_path(out / f"{row.slide_id}.{one.name}.png") as scratch:
            one.picture.save(scratch, format="PNG", compress_level=2)  # 6 saves some % in 2 to 4 x the time
    with atomic_path(out / f"{row.slide_id}.jpg") as scratch:
        draw_panel(said, wrong, views.whole, maps, views.tiles).save(scratch, quality=80)
    write_text(out / f"{row.slide_id}.geojson", tiles_to_geojson(features, answer, shown, classes, views.origin))
