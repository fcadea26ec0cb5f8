"""What the page asks for, as JSON: the views, the slides of one, and a slide."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roformermil.errors import SlideError
from roformermil.evaluation.chance import chance_warning
from roformermil.report.heatmaps import overlay, sentences, values
from roformermil.slides.scale import mpp_source_text
from roformermil.slides.tile_table import read_valid_tile_table
from roformermil.tasks import METRIC_TITLES
from roformermil.viewer.layers import Tiles, describe_layers, read_outline, read_tiles
from roformermil.viewer.pixels import OpenSlides, Places, ShownImage, spread_places
from roformermil.viewer.views import ShownSlide, View, by_surprise, has_heatmaps, surprise

LIMITS = {  # of the heat maps, so that both draw and say the same
    "even": values.EVEN,
    "negligible": values.DIFFERENT,
    "leastAttention": overlay.LEAST_ATTENTION,
    "leastRange": overlay.LEAST_RANGE,
    "quantile": overlay.QUANTILE,
    "leastTimes": sentences.LEAST_TIMES,
    "mostTimes": sentences.MOST_TIMES,
}


def describe_run(folder: Path, views: Sequence[View]) -> dict[str, Any]:
    """The folder's name, each view without its slides, and what decides how values are drawn and described."""
    rows = [
        {"dataset": view.dataset, "encoder": view.encoder, "model": view.model, "heatmaps": has_heatmaps(view)}
        for view in views
    ]
    name = folder.absolute().name
    return {"folder": str(folder.absolute()), "name": name, "views": rows, "limits": LIMITS}


def describe_view(view: View) -> dict[str, Any]:
    """A view with its slides in the order of the list."""
    slides = [_describe_slide(slide, view) for slide in by_surprise(view)]
    auroc = view.auroc and [None if math.isnan(value) else value for value in view.auroc]
    facts = {"dataset": view.dataset, "encoder": view.encoder, "model": view.model, "classes": view.classes}
    facts["unit"] = view.unit
    warning = chance_warning(view.model, *auroc, metric=view.metric) if auroc else ""
    return facts | {
        "auroc": auroc,
        "metric": METRIC_TITLES[view.metric],
        "chance": warning,
        "cautions": view.cautions,
        "slides": slides,
    }


def _describe_slide(slide: ShownSlide, view: View) -> dict[str, Any]:
    record, probabilities = slide.record, slide.probabilities
    predicted = slide.text or (view.classes[probabilities.index(max(probabilities))] if probabilities else "")
    return {
        "id": record.slide_id,
        "patient": slide.patient,
        "label": "" if slide.text else slide.label,
        "predicted": predicted,
        "probabilities": probabilities,
        "surprise": surprise(slide, view.classes),
        "fold": slide.fold,
        "spread": slide.spread,
        "status": str(record.status),
        "message": record.message,
        "warnings": record.warnings,
        "thumbnail": (view.tissue / f"{record.slide_id}.jpg").is_file(),
    }


def describe_slide(view: View, slide: ShownSlide, opened: OpenSlides) -> dict[str, Any]:
    """What is shown of a slide beside its row in the list: how to ask for its pixels, or the problem with its file; facts of
    the file; its layers."""
    record, problem, image = slide.record, "", None
    try:
        image = open_slide(view, slide, opened)
    except SlideError as error:
        problem = str(error)
    tiles, outline = _read_layers(view, slide, image)
    facts = {
        "file": record.path.name,
        "tissue_mm2": record.tissue_mm2,
        "mpp_source": mpp_source_text(record.mpp_source),
    }
    facts["tiles"] = record.tiles if tiles is None else len(tiles.coords)
    shown = {"image": image and image.facts, "problem": problem, "facts": facts}
    return shown | describe_layers(view, slide, tiles, outline)


def open_slide(view: View, slide: ShownSlide, opened: OpenSlides) -> ShownImage:
    """The slide's pixels. Raises SlideError."""
    return opened.get(slide.record, lambda: _places(view, slide))


def _read_layers(view: View, slide: ShownSlide, image: ShownImage | None) -> tuple[Tiles | None, list[Any] | None]:
    if image is None:
        return None, None
    origin, name = image.pixels.reader.origin, slide.record.slide_id
    return read_tiles(view, name, origin), read_outline(view.tissue, name, origin)


def _places(view: View, slide: ShownSlide) -> Places:
    """Where levels are compared: at some of the slide's tiles."""
    table = read_valid_tile_table(view.tiles / f"{slide.record.slide_id}.npz")
    return spread_places(table.coords, table.spec.base_px) if table else []
