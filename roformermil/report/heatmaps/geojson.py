"""Tiles and their values in QuPath's format."""

import json
from typing import Any

import numpy as np

from roformermil.features.store import SlideFeatures
from roformermil.models.inference import Prediction
from roformermil.report.heatmaps.values import EVEN, is_even, shuffled_margins

EVEN_ATTENTION = f"even: no tile is a factor of {EVEN} from the mean, which is written for all"


def tiles_to_geojson(
    features: SlideFeatures,
    prediction: Prediction,
    shown: int,
    classes: list[str],
    origin: tuple[int, int] = (0, 0),
    shuffled: Prediction | None = None,
) -> str:
    """GeoJSON of the tiles as squares, in level-0 pixels from QuPath's `origin`. Their measurements are attention for
    the class `shown`, and what a tile adds to the log-odds of each class, so that slides with different predictions can
    be coloured alike.

    Even attention is written as its mean, since QuPath would stretch its noise over all colours. shuffled: the prediction
    with the tiles' positions shuffled; its contributions are written where they differ.
    """
    base_px = int(features.attributes["base_px"])
    values = _measurements(prediction, shown, classes)
    if (margins := shuffled_margins(prediction, shuffled, shown)) is not None:
        values |= {f"contribution to {name}, positions shuffled": margins[:, c] for c, name in enumerate(classes)}
    lists = {name: column.astype(float).tolist() for name, column in values.items()}
    tiles: list[dict[str, Any]] = []
    for k, (x, y) in enumerate((features.coords - origin).tolist()):
        right, bottom = x + base_px, y + base_px
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        properties = {"objectType": "tile", "measurements": {name: column[k] for name, column in lists.items()}}
        geometry = {"type": "Polygon", "coordinates": [ring]}
        tiles.append({"type": "Feature", "geometry": geometry, "properties": properties})
    note = {"attention": EVEN_ATTENTION} if is_even(prediction.map_attention[:, shown]) else {}
    return json.dumps({"type": "FeatureCollection", **note, "features": tiles}, separators=(",", ":"))


def _measurements(prediction: Prediction, shown: int, classes: list[str]) -> dict[str, np.ndarray]:
    """The values (n,) of tiles by name."""
    attention = prediction.map_attention[:, shown]
    if is_even(attention):
        attention = np.full_like(attention, attention.mean())
    values = {"attention": attention, "attention rank": rank_fractions(attention).round(4)}
    if prediction.margins is not None:
        values |= {f"contribution to {name}": prediction.margins[:, c] for c, name in enumerate(classes)}
    return values


def rank_fractions(values: np.ndarray) -> np.ndarray:
    """The fraction of the other tiles that have a smaller value, 0 to 1; equal values share their mean rank."""
    order = np.sort(values)
    smaller, smaller_or_equal = np.searchsorted(order, values), np.searchsorted(order, values, side="right")
    return (smaller + smaller_or_equal - 1) / max(1, 2 * (len(values) - 1))
