"""Tiles and their values as QuPath opens them."""

import json
from collections.abc import Iterator
from typing import Any

from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.overlay import ranks


def tiles_to_geojson(
    features: SlideFeatures, answer: Prediction, shown: int, classes: list[str], origin: tuple[int, int] = (0, 0)
) -> str:
    """Squares in level-0 pixels from QuPath's `origin` on; as measurements attention for the class `shown`, and what a
    tile adds to each class's log-odds, so that slides of different decisions can be coloured by the same one."""
    step = int(features.attributes["base_px"])
    rank, margins = ranks(answer.attention[:, shown]), answer.margins

    def tiles() -> Iterator[dict[str, Any]]:
        for k, (x, y) in enumerate((features.coords - origin).tolist()):
            measured = {"attention": float(answer.attention[k, shown]), "attention rank": round(float(rank[k]), 4)}
            if margins is not None:
                parts = zip(classes, margins[k].tolist(), strict=True)
                measured |= {f"contribution to {name}": part for name, part in parts}
            ring = [[x, y], [x + step, y], [x + step, y + step], [x, y + step], [x, y]]
            yield {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"objectType": "tile", "measurements": measured},
            }

    return json.dumps({"type": "FeatureCollection", "features": list(tiles())}, separators=(",", ":"))
