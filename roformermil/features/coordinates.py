"""Where the tiles of other pipelines lie: their coordinates may be in um, fractional, or a pixel off their grid."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from roformermil.errors import SlideError, Status
from roformermil.runtime.text import join_some, plural

BASE_PX = "patch_size_level0"  # TRIDENT's attribute of `coords`: side of a tile in level-0 pixels
# in um; there are two letters mu
UNITS = dict.fromkeys(("um", "µm", "μm", "micron", "micrometer", "micrometre"), 1.0) | {
    "mm": 1e3,
    "millimeter": 1e3,
    "nm": 1e-3,
}
PIXELS = ("", "px", "pixel", "level0px", "level0pixel")
UNIT = re.compile(r"units?(?![a-z])", re.IGNORECASE)  # in the name of an attribute
HISTORIC_PX, HISTORIC_UM = 224, 256  # a tile of STAMP before 2.0, whose coordinates are pixels of its tiles
MPP = ("level0_mpp", "mpp_level0", "slide_mpp", "mpp")
MAX_SHARED = 0.05  # of a slide's tiles may share a grid position: where two pieces of tissue, each with its grid, touch
TOLERANCE = 0.02  # of the distance between tiles, and 1 px: coordinates that differ by less are one row or column
SAME_ROW = 4  # px: to which rows are rounded before neighbours are looked for in them
MAX_GAP_ERROR = 0.35  # of a tile; at larger gaps between columns another grid begins
MIN_PAIRS = 8  # of neighbours that must contradict the stated distance before the file is refused
MAX_RATIO = 16  # of the most frequent distance to that of adjacent tiles
MIN_BASE_PX = 16  # tiles closer than this are numbered by column and row instead


class Placement(NamedTuple):
    """Where a slide's n tiles lie."""

    coords: np.ndarray  # (n, 2) int32, level-0 pixels, or um where the slide's mpp is not known
    grid: np.ndarray  # (n, 2) int32
    base_px: int  # distance between tiles, in the same unit
    attributes: dict[str, Any]  # for the store: mpp; the unit "um" unless coords are pixels; overlap and side of tiles
    warnings: list[str]


def place_tiles(
    coords: np.ndarray, attributes: Mapping[str, Any], sheet_mpp: float | None, rows: np.ndarray | None = None
) -> Placement:
    """Grid and level-0 pixels of tiles, from coordinates (n, 2) and attributes as a pipeline wrote them.

    rows: their (n,) numbers in the file, for messages. Raises SlideError for coordinates that are not positions on a slide, or do not lie in a grid.
    """
    coords, rows = coords.astype(np.float64), np.arange(len(coords)) if rows is None else rows
    _refuse_tiles(~np.isfinite(coords), coords, rows)
    mpp, um = sheet_mpp or _file_mpp(attributes), um_per_unit(coords, attributes)
    stored: dict[str, Any] = {"mpp": mpp}
    stating, warnings = BASE_PX, []
    if um is None:
        stated, overlap = number(attributes, BASE_PX), number(attributes, "overlap", signed=True)
        if stated and overlap:  # then it is not the distance between tiles
            stored, stated = stored | {BASE_PX: stated, "overlap": overlap}, None
        if (coords % 1).any() and not _units(attributes):
            warnings.append(
                "its coordinates are fractional, without an attribute unit, and are taken as level-0 pixels"
            )
    else:
        stating = next((name for name in ("tile_size_um", "tile_size") if name in attributes), "tile_size_um")
        stated = (number(attributes, stating) or 0) * (1 if stating == "tile_size_um" else um) / (mpp or 1) or None
        coords = coords * um / (mpp or 1)
        if not mpp:
            stored["unit"] = "um"
            remedy = "give the slide's mpp in the column mpp of the slide sheet"
            warnings.append(f"its coordinates are in um: the grid is right, but to export it in pixels {remedy}")
    grid, distance, more = fit_grid(coords, stated, stating, stored.get("unit", "px"))
    _refuse_tiles((coords < -1 - TOLERANCE * distance) | (coords > np.iinfo(np.int32).max), coords, rows)
    base_px = int(distance + 0.5)
    if not base_px:
        raise unreadable(f"its tiles are {distance:.2g} apart; expected coordinates in level-0 pixels")
    if base_px < MIN_BASE_PX and um is None:
        warnings.append(f"its tiles are {base_px} px apart: coordinates seem to be columns and rows, not pixels")
    return Placement(np.floor(coords + 0.5).astype(np.int32), grid, base_px, stored, [*warnings, *more])


def number(attributes: Mapping[str, Any], name: str, signed: bool = False) -> float | None:
    """An attribute that is one number (or numbers within 1%), of whatever type or shape; None if it is absent, 0 or NaN.

    Raises SlideError for other values.
    """
    try:
        values = np.unique(np.asarray(attributes.get(name, 0)).astype(np.float64))
    except (TypeError, ValueError):
        values = np.array([])
    if not len(values) or np.ptp(values) > 0.01 * values[-1] or (values[0] < 0 and not signed) or np.isinf(values[0]):
        value = np.asarray(attributes[name]).tolist()
        raise unreadable(f"its attribute {name} is {value!r}; expected {'a' if signed else 'one positive'} number")
    return None if np.isnan(values[0]) else float(values[0]) or None


def um_per_unit(coords: np.ndarray, attributes: Mapping[str, Any]) -> float | None:
    """How many um a unit of the coordinates is; None for level-0 pixels. Raises SlideError for an unknown unit."""
    if units := _units(attributes):
        (um,) = set(units.values())
    if units and um:
        return um
    if not units and number(attributes, "tile_size_um"):
        return 1.0  # so STAMP 2.1 and later read them
    distances = neighbour_distances(coords) if {"extractor", "tile_size"} & set(attributes) else np.array([])
    is_historic = len(distances) and round(tile_distance(distances)) == HISTORIC_PX
    return HISTORIC_UM / HISTORIC_PX if is_historic and not number(attributes, BASE_PX) else None


def _units(attributes: Mapping[str, Any]) -> dict[str, float | None]:
    """How many um a unit of the coordinates is, None for pixels, by each attribute that states it: `unit`, `coords_units`
    or, without these, any text whose name contains "unit". Raises SlideError for an unknown unit."""
    named = {name: np.ravel(value).tolist() for name, value in attributes.items() if UNIT.search(name)}
    of_coords = {name for name in named if "coord" in name.lower() or UNIT.fullmatch(name)}
    found = {}
    for name in of_coords or {name for name in named if isinstance([*named[name], 0][0], str | bytes)}:
        for value in named[name]:
            unit = (value.decode() if isinstance(value, bytes) else str(value)).strip().lower()
            simple = re.sub(r"[\s_-]", "", unit).removesuffix("s")
            if simple not in (*UNITS, *PIXELS):
                raise unreadable(f"its attribute {name} is {unit!r}; expected px or um")
            if simple:
                found[name] = UNITS.get(simple)
    if len(set(found.values())) > 1:
        raise unreadable(f"its attributes {' and '.join(sorted(found))} contradict one another; expected px or um")
    return found


def fit_grid(
    coords: np.ndarray, stated: float | None, stating: str = BASE_PX, unit: str = "px"
) -> tuple[np.ndarray, float, list[str]]:
    """Grid positions (n, 2) int32, the distance between tiles in the unit of `coords`, and warnings.

    stated: the distance that the attribute `stating` gives; without it the most frequent one is used. A tile is in the
    nearest column and row. Raises SlideError where there is no such grid.
    """
    distances, warnings = neighbour_distances(coords), []
    if not len(distances) and not stated:
        raise unreadable(f"no two tiles side by side, and no attribute {stating} that states their distance")
    distance = stated or tile_distance(distances)
    if stated and len(distances) and not _is_near(distances, stated).any():
        warnings.append(f"no two tiles side by side are {stated:.6g} {unit} apart, which {stating} states")
    if stated and len(distances) >= MIN_PAIRS and (found := _contradicting(stated, distances)):
        states = f"not {stated:.6g} {unit} as its attribute {stating} states"
        raise unreadable(f"its tiles are {found:.6g} {unit} apart, {states}; correct that, or make the file again")
    grid, error = _nearest(coords, distance)
    by_gaps, errors = _count_gaps(coords, distance)
    if errors.mean() < error / 2 and errors.max() < MAX_GAP_ERROR:
        grid = by_gaps
    if shared := len(coords) - len(np.unique(coords, axis=0)):
        warnings.append(f"{shared} of {len(coords)} tiles have the coordinates of another tile")
    if (positions := len(np.unique(grid, axis=0))) < (1 - MAX_SHARED) * len(coords):
        place = f"only {plural(positions, 'position')} in a grid of {distance:.6g} {unit}"
        raise unreadable("; ".join([f"{plural(len(coords), 'tile')} have {place}; check {stating}", *warnings]))
    return grid, distance, warnings


def neighbour_distances(coords: np.ndarray) -> np.ndarray:
    """Distances between tiles that follow one another in a row or a column, ascending.

    Pipelines lay a separate grid over each piece of tissue, so the smallest distance of any two rows means nothing.
    """
    found = []
    for along, across in ((0, 1), (1, 0)):
        rows = np.round(coords[:, across] / SAME_ROW)
        order = np.lexsort((coords[:, along], rows))
        differences = np.diff(coords[order, along])
        found.append(differences[(np.diff(rows[order]) == 0) & (differences > 0)])
    return np.sort(np.concatenate(found))


def tile_distance(distances: np.ndarray) -> float:
    """The distance between adjacent tiles, given all `neighbour_distances`: the smallest of which almost all are
    multiples, which need not be frequent where few tiles of a slide were kept; otherwise the most frequent."""
    low, high = distances * (1 - TOLERANCE), distances * (1 + TOLERANCE)
    counts = np.searchsorted(distances, high, side="right") - np.searchsorted(distances, low)
    found = distances[counts.argmax()]
    for smaller in np.unique(distances[(counts > max(2, 0.01 * len(distances))) & (distances > found / MAX_RATIO)]):
        if _share_of_multiples(distances[distances <= max(10 * smaller, found)], smaller) > 0.9:
            found = smaller
            break
    values, counts = np.unique(distances[_is_near(distances, found)], return_counts=True)
    return float(values[counts.argmax()] if counts.max() > counts.sum() / 2 else np.average(values, weights=counts))


def _contradicting(stated: float, distances: np.ndarray) -> float | None:
    """Another distance than the stated one of which (almost) all distances are multiples."""
    found = tile_distance(distances)
    return found if not _is_near(found, stated) and _share_of_multiples(distances, found) > 0.9 else None


def _share_of_multiples(distances: np.ndarray, distance: float) -> float:
    return float((np.abs(distances / distance - np.round(distances / distance)) < 0.1).mean())


def _is_near(distances: Any, distance: float) -> Any:
    return np.abs(distances - distance) <= max(1, TOLERANCE * distance)


def _nearest(coords: np.ndarray, distance: float) -> tuple[np.ndarray, float]:
    """The nearest grid position of every tile (n, 2) int32, and the mean distance from it as a fraction of a tile.

    The grid's origin is the most frequent remainder, in each axis.
    """
    tolerance = max(1, TOLERANCE * distance)
    positions = np.empty(coords.shape)
    for axis, values in enumerate(coords.T):
        remainders = np.sort(np.mod(values, distance))
        ring = np.concatenate([remainders - distance, remainders, remainders + distance])
        near = np.searchsorted(ring, remainders + tolerance, side="right")
        near -= np.searchsorted(ring, remainders - tolerance)
        positions[:, axis] = (values - remainders[near.argmax()]) / distance
    grid = np.floor(positions + 0.5)
    error = float(np.abs(positions - grid).mean())
    return (grid - np.minimum(grid.min(axis=0), 0)).astype(np.int32), error


def _count_gaps(coords: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Grid positions, each column and row counted from the one before, and how far each is off as a fraction of a tile.

    Right where distances add up to more than tiles: STAMP rounds up the place of every 2nd to 64th tile, others of each.
    """
    grid, errors = np.empty(coords.shape, np.int32), []
    for axis, values in enumerate(coords.T):
        places, column = np.unique(values, return_inverse=True)
        steps = np.diff(places) / distance
        first = np.floor(places[0] / distance + TOLERANCE)
        grid[:, axis] = max(0, first) + np.cumsum([0, *np.floor(steps + 0.5)])[column]
        errors.append(np.abs(steps - np.floor(steps + 0.5)))
    return grid, np.concatenate([*errors, [0.0]])


def _refuse_tiles(refused: np.ndarray, coords: np.ndarray, rows: np.ndarray) -> None:
    """Raises SlideError naming the tiles with coordinates (n, 2) that no slide has."""
    if refused.any():
        tiles = np.flatnonzero(refused.any(axis=1))
        names = [f"tile {rows[k]} has coordinates ({coords[k, 0]:.10g}, {coords[k, 1]:.10g})" for k in tiles]
        raise unreadable(f"{join_some(names, 3)}; make the file again")


def _file_mpp(attributes: Mapping[str, Any]) -> float | None:
    """The slide's mpp as the file states it; not the tiles', which STAMP's attributes give."""
    with suppress(SlideError):
        mpp = next(filter(None, (number(attributes, name) for name in MPP)), None)
        um, px = number(attributes, "tile_size_um"), number(attributes, "tile_size_px")
        return None if mpp and um and px and abs(mpp * px / um - 1) < 0.01 else mpp
    return None


def unreadable(message: str) -> SlideError:
    """The error for a file that cannot be used."""
    return SlideError(Status.UNREADABLE, message)
