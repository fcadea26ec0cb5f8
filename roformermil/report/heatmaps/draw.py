"""The heat maps of one slide: a panel (`{slide_id}.jpg`), the slide under each kind of values (`.attention.png`,
`.contribution.png`), and tiles with their values for QuPath (`.geojson`)."""

import math
from pathlib import Path

import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.geojson import tiles_to_geojson
from roformermil.report.heatmaps.overlay import draw_overlays
from roformermil.report.heatmaps.panel import STRIP_TILES, TILE_PX, draw_panel
from roformermil.runtime.files import atomic_path, write_text
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.thumbnails import read_thumbnails

OVERLAY_PX = 1120  # longer side
MOST_TIMES = 1e6  # larger factors are not spelled out


def write_heatmaps(
    record: SlideRecord,
    features: SlideFeatures,
    prediction: Prediction,
    classes: list[str],
    out: Path,
    timeout: float,
    label: str = "",
) -> None:
    """Write a slide's heat maps into `out`. Of two classes they show the second, whatever is predicted, so that red
    means the same on all slides; of more, the predicted one.

    features: those that the prediction was made from; timeout: seconds that reading the slide may stall; label: the
    slide's class, where that is known. Raises SlideError when the slide cannot be read, or its file is no longer the
    one that the features come from.
    """
    predicted = int(prediction.probabilities.argmax())
    shown = 1 if len(classes) == 2 else predicted
    values = (prediction.attention if prediction.margins is None else prediction.margins)[:, shown]
    order = np.argsort(-values, kind="stable")
    strip = [*order[:STRIP_TILES], *order[max(STRIP_TILES, len(order) - STRIP_TILES) :]]
    base_px, content = int(features.attributes["base_px"]), str(features.attributes.get("content", ""))
    thumbnails = run_in_subprocess(
        read_thumbnails, record, features.coords[strip].tolist(), base_px, OVERLAY_PX, TILE_PX, content, timeout=timeout
    )
    overlays = list(draw_overlays(thumbnails, features, prediction, shown, classes))
    for overlay in overlays:
        with atomic_path(out / f"{record.slide_id}.{overlay.name}.png") as scratch:
            overlay.picture.save(scratch, compress_level=2)  # level 6 is slightly smaller, 2 to 4 times slower
    title = f"{record.slide_id}: {describe_prediction(prediction, shown, classes, label)}"
    is_wrong = bool(label) and label != classes[predicted]
    with atomic_path(out / f"{record.slide_id}.jpg") as scratch:
        draw_panel(title, is_wrong, thumbnails.whole, overlays, thumbnails.tiles).save(scratch, quality=80)
    tiles = tiles_to_geojson(features, prediction, shown, classes, thumbnails.origin)
    write_text(out / f"{record.slide_id}.geojson", tiles)


def describe_prediction(prediction: Prediction, shown: int, classes: list[str], label: str = "") -> str:
    """The predicted class, its probability, the label, and how far all tiles move the odds of the class `shown`."""
    predicted = int(prediction.probabilities.argmax())
    text = f"{classes[predicted]}, probability {prediction.probabilities[predicted]:.3f}"
    text += f"; labelled {label}" if label else ""
    if prediction.margins is None:
        return text
    log_odds = float(prediction.margins[:, shown].sum())
    times = math.exp(min(abs(log_odds), math.log(MOST_TIMES)))
    factor = f"{float(f'{times:.2g}'):,g}" if times < 0.99 * MOST_TIMES else f"more than {MOST_TIMES:,.0f}"
    against = "" if len(classes) == 2 else " against the other classes"
    verb, place = ("lower", "below") if log_odds < 0 else ("raise", "over")
    return f"{text}. The tiles {verb} the odds of {classes[shown]}{against} {factor} times {place} the model's baseline"
