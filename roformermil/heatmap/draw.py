"""Heat maps of one slide: where a model looked, what it found there, at the right place.

A sheet to look at (`{slide_id}.jpg`), the slide under each kind of values (`.attention.png`, `.contribution.png`), and tiles
with their values for QuPath (`.geojson`).
"""

from pathlib import Path

import numpy as np

from roformermil.features.store import Features
from roformermil.files import atomic_path, write_text
from roformermil.heatmap.geojson import to_geojson
from roformermil.heatmap.overlay import overlays
from roformermil.heatmap.sheet import STRIP, TILE, sheet
from roformermil.isolation import isolated
from roformermil.models.trained import Answer
from roformermil.slides.views import look
from roformermil.status import Status

SIDE = 1120  # pixels: an overlay's longer side


def draw_slide(
    row: Status,
    features: Features,
    answer: Answer,
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
    step = int(features.attributes["step"])
    content = str(features.attributes.get("slide", ""))
    views = isolated(look, row, features.coords[strip].tolist(), step, SIDE, TILE, content, timeout=timeout)
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
        sheet(said, wrong, views.whole, maps, views.tiles).save(scratch, quality=80)
    write_text(out / f"{row.slide_id}.geojson", to_geojson(features, answer, shown, classes, views.origin))
