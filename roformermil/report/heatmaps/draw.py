"""The heat maps of one slide: a panel (`{slide_id}.jpg`), the slide under each kind of values (`.attention.png`,
`.contribution.png`, `.contribution_shuffled.png`), and tiles with their values for QuPath (`.geojson`)."""

from pathlib import Path

import numpy as np

from roformermil.cohort.slide_table import SlideRecord
from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.geojson import tiles_to_geojson
from roformermil.report.heatmaps.overlay import draw_overlays, tile_boxes
from roformermil.report.heatmaps.panel import STRIP_TILES, TILE_PX, PanelText, Strip, draw_panel, glass_trimmed
from roformermil.report.heatmaps.picture import length_text
from roformermil.report.heatmaps.sentences import describe_maps, describe_prediction, is_wrong
from roformermil.report.heatmaps.values import is_even, is_negligible, short_text, shown_class, times_mean
from roformermil.runtime.files import atomic_path, write_text
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.thumbnails import Thumbnails, read_thumbnails

OVERLAY_PX = 1120  # longer side
SOME_OVERLAYS = ("contribution", "contribution_shuffled")  # that not every prediction has


def write_heatmaps(
    record: SlideRecord,
    features: SlideFeatures,
    prediction: Prediction,
    classes: list[str],
    out: Path,
    timeout: float,
    label: str = "",
    shuffled: Prediction | None = None,
    warning: str = "",
    smooth: bool = False,
) -> None:
    """Write a slide's heat maps into `out`. Of two classes they show the second, whatever is predicted, so that red
    means the same on all slides; of more, the predicted one.

    features: those that the prediction was made from; timeout: seconds that reading the slide may stall; label: the
    slide's class, where that is known; shuffled: the prediction with the tiles' positions shuffled, for a model that uses
    them; warning: why not to believe the model, as of `chance_warning`; smooth: blend the values of neighbouring tiles.
    Raises SlideError when the slide cannot be read, or its file is no longer the one that the features come from.
    """
    shown, base_px = shown_class(prediction), int(features.attributes["base_px"])
    content = str(features.attributes.get("content", ""))
    strips = _choose_tiles(prediction, shown, classes)
    coords = [features.coords[tile].tolist() for chosen in strips.values() for tile in chosen]
    thumbnails = run_in_subprocess(
        read_thumbnails, record, coords, base_px, OVERLAY_PX, TILE_PX, content, timeout=timeout
    )
    overlays = list(draw_overlays(thumbnails, features, prediction, shown, classes, shuffled, smooth))
    for name in set(SOME_OVERLAYS) - {overlay.name for overlay in overlays}:  # of an earlier model
        (out / f"{record.slide_id}.{name}.png").unlink(missing_ok=True)
    for overlay in overlays:
        with atomic_path(out / f"{record.slide_id}.{overlay.name}.png") as scratch:
            overlay.picture.save(scratch, compress_level=2)  # level 6 is slightly smaller, 2 to 4 times slower
    text = PanelText(
        title=f"{record.slide_id}: {describe_prediction(prediction, classes, label)}",
        is_wrong=bool(label) and is_wrong(prediction, classes, label),
        warning=warning and f"{warning}. Do not read its heat maps as findings.",
        sentences=describe_maps(prediction, shown, classes, shuffled),
    )
    mpp = features.attributes.get("mpp") or record.mpp
    shape = thumbnails.whole.shape[:2]
    panel = draw_panel(
        text,
        thumbnails.whole,
        overlays,
        _draw_strips(strips, thumbnails, round(base_px * mpp) if mpp else None),
        glass_trimmed(thumbnails.whole, tile_boxes(features, thumbnails.size, shape)),
        mpp * thumbnails.size[0] / shape[1] if mpp else None,
    )
    with atomic_path(out / f"{record.slide_id}.jpg") as scratch:
        panel.save(scratch, quality=80)
    tiles = tiles_to_geojson(features, prediction, shown, classes, thumbnails.origin, shuffled)
    write_text(out / f"{record.slide_id}.geojson", tiles)


def _choose_tiles(prediction: Prediction, shown: int, classes: list[str]) -> dict[str, dict[int, str]]:
    """By the titles of strips, the tiles with the highest and the lowest contribution and their values; where there are no
    contributions, attention. None where contributions are negligible or attention is even: they would be chosen by noise."""
    attention = prediction.map_attention[:, shown]
    if prediction.margins is not None:
        if is_negligible(prediction.margins[:, shown], prediction.task.scale):
            return {}
        unit = prediction.task.contribution_unit
        values, kind = prediction.margins[:, shown], f"contribution to {classes[shown]} ({unit})"
        texts = [short_text(value, "+") for value in values]
    elif is_even(attention):
        return {}
    else:
        values, kind = times_mean(attention), "attention"
        texts = [f"{short_text(value)} times the mean" for value in values]
    order = np.argsort(-values, kind="stable").tolist()
    lowest = order[: STRIP_TILES - 1 : -1][:STRIP_TILES]  # without those that are among the highest
    ends = {"highest": order[:STRIP_TILES], "lowest": lowest}
    if prediction.margins is not None and values.max() < 0:
        kind += ", all negative"  # the highest too speak against the class
    elif prediction.margins is not None and values.min() > 0:
        kind += ", all positive"
    return {f"Tiles with the {end} {kind}": {k: texts[k] for k in tiles} for end, tiles in ends.items()}


def _draw_strips(strips: dict[str, dict[int, str]], thumbnails: Thumbnails, um: float | None) -> list[Strip]:
    """Chosen tiles with their pixels. um: side of a tile."""
    pixels, side = iter(thumbnails.tiles), f"; each tile is {length_text(um)} wide" if um else ""
    return [
        Strip(f"{title}{side}", [(next(pixels), value) for value in tiles.values()])
        for title, tiles in strips.items()
        if tiles
    ]
