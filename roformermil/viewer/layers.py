"""What lies over a slide: its tiles, their attention and contributions, and the outline of its tissue."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roformermil.slides.tile_table import read_valid_tile_table
from roformermil.viewer.views import ShownSlide, View

ATTENTION, CONTRIBUTION = "attention", "contribution"  # first words of the measurements in a heat map's .geojson
RANK = "attention rank"
UNUSED = "This slide is not used"
DIGITS = 4  # of values
NO_OUTLINE = "There is no outline of this slide's tissue. Run the workflow's target tissue, or predict, again"
NO_TILES = "This slide has no tiles yet. Run the workflow, or predict, again"
NO_CONTRIBUTION = "This model's prediction cannot be divided among tiles (TransMIL)"


@dataclass(frozen=True)
class Tiles:
    """A slide's n tiles."""

    base_px: int  # side, level-0 pixels
    coords: np.ndarray  # (n, 2) int, level-0 pixels
    values: dict[str, np.ndarray] = field(default_factory=dict)  # (n,) by name


def read_tiles(view: View, slide_id: str, origin: tuple[int, int]) -> Tiles | None:
    """The slide's tiles with their values; without these where it has no heat map, None where it has no tiles.

    origin: level-0 position from which positions in .geojson files count, as QuPath does.
    """
    path = view.heatmaps / f"{slide_id}.geojson" if view.heatmaps else None
    if path and path.is_file():
        return _tiles_of_heatmap(path, origin)
    table = read_valid_tile_table(view.tiles / f"{slide_id}.npz")
    return Tiles(table.spec.base_px, table.coords.astype(int)) if table else None


def _tiles_of_heatmap(path: Path, origin: tuple[int, int]) -> Tiles:
    tiles = json.loads(path.read_text(encoding="utf-8"))["features"]
    corners = np.array([tile["geometry"]["coordinates"][0][:3:2] for tile in tiles])  # (n, 2, 2)
    coords = (corners[:, 0] + origin).round().astype(int)
    measured = [tile["properties"]["measurements"] for tile in tiles]
    names = [name for name in measured[0] if name.startswith((ATTENTION, CONTRIBUTION)) and name != RANK]
    values = {name: np.array([one[name] for one in measured], float) for name in names}
    return Tiles(round(corners[0, 1, 0] - corners[0, 0, 0]), coords, values)


def read_outline(folder: Path, slide_id: str, origin: tuple[int, int]) -> list[list[list[int]]] | None:
    """The rings of a slide's tissue in level-0 pixels; None where there is no outline."""
    if not (path := folder / f"{slide_id}.geojson").is_file():
        return None
    shapes = json.loads(path.read_text(encoding="utf-8"))["features"]
    rings = []
    for geometry in (shape["geometry"] for shape in shapes):
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        rings += [(np.array(ring) + origin).round().astype(int).tolist() for polygon in polygons for ring in polygon]
    return rings


def describe_layers(view: View, slide: ShownSlide, tiles: Tiles | None, outline: list[Any] | None) -> dict[str, Any]:
    """The layers as the page takes them (JSON), and for each that is missing what to do."""
    missing = {} if outline is not None else {"tissue": NO_OUTLINE}
    if tiles is None:
        missing["grid"] = NO_TILES
    if tiles is None or not tiles.values:
        missing |= {ATTENTION: view.remedy, CONTRIBUTION: view.remedy}
    elif not any(name.startswith(CONTRIBUTION) for name in tiles.values):
        missing[CONTRIBUTION] = NO_CONTRIBUTION
    if not slide.record.is_ok:  # its message says what to do
        missing = dict.fromkeys(missing, UNUSED)
    return {"tiles": tiles and _tiles_to_json(tiles), "outline": outline, "missing": missing}


def _tiles_to_json(tiles: Tiles) -> dict[str, Any]:
    values = {name: [float(f"{value:.{DIGITS}g}") for value in array] for name, array in tiles.values.items()}
    x, y = tiles.coords.T.tolist()
    return {"side": tiles.base_px, "x": x, "y": y, "values": values}
