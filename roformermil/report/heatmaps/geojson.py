"""Tiles and their values in QuPath's format."""

import json
from typing import Any

from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.overlay import rank_fractions


def tiles_to_geojson(
    features: SlideFeatures, prediction: Prediction, shown: int, classes: list[str], origin: tuple[int, int] = (0, 0)
) -> str:
    """GeoJSON of the tiles as squares, in level-0 pixels from QuPath's `origin`. Their measurements are attention for
    the class `shown`, and what a tile adds to the log-odds of each class, so that slides with different predictions can
    be coloured alike."""
    base_px = int(features.attributes["base_px"])
    attention, margins = prediction.attention[:, shown], prediction.margins
    ranks = rank_fractions(attention)
    tiles: list[dict[str, Any]] = []
    for k, (x, y) in enumerate((features.coords - origin).tolist()):
        measurements = {"attention": float(attention[k]), "attention rank": round(float(ranks[k]), 4)}
        if margins is not None:
            measurements |= {f"contribution to {name}": float(margins[k, c]) for c, name in enumerate(classes)}
        right, bottom = x + base_px, y + base_px
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        properties = {"objectType": "tile", "measurements": measurements}
        geometry = {"type": "Polygon", "coordinates": [ring]}
        tiles.append({"type": "Feature", "geometry": geometry, "properties": properties})
    return json.dumps({"type": "FeatureCollection", "features": tiles}, separators=(",", ":"))
