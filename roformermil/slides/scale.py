"""A slide's resolution, found by an ordered chain and never guessed from the image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from roformermil.errors import SlideError, Status

SENSIBLE_MPP = (0.01, 100.0)
COARSEST_TIFF = 4.0  # um/px: writers leave screen resolutions such as 72 dpi (353 um/px), which are no scale
SQUARE = 0.01  # pixels whose sides differ by more than this fraction would distort every tile
MICROMETRES = {"centimeter": 1e4, "inch": 25400.0}  # a TIFF resolution unit in um
MPP_X, MPP_Y, POWER = "openslide.mpp-x", "openslide.mpp-y", "openslide.objective-power"
REMEDY = "give the right one in the slide sheet's `mpp` column (um/px)"


@dataclass(frozen=True)
class Scale:
    """A slide's resolution and where it was found."""

    mpp: float
    source: str  # sheet, vendor, tiff or objective


def find_scale(properties: Mapping[str, str], given: float | None = None) -> Scale:
    """The slide's mpp: from the sheet, the vendor's property, the TIFF's resolution, the objective's power, in this order.

    Raises SlideError: `no_mpp` when the chain ends, `absurd_mpp` when its first statement is outside SENSIBLE_MPP,
    `anisotropic` when pixels are not square.
    """
    if given is not None:
        return Scale(_square(given, given), "sheet")
    if pair := _numbers(properties, MPP_X, MPP_Y):
        return Scale(_square(*pair), "vendor")
    unit = MICROMETRES.get(properties.get("tiff.ResolutionUnit", ""))
    pair = _numbers(properties, "tiff.XResolution", "tiff.YResolution")
    if unit and pair and min(pair) > 0 and unit / min(pair) <= COARSEST_TIFF:
        return Scale(_square(unit / pair[0], unit / pair[1]), "tiff")
    if pair := _numbers(properties, POWER, POWER):
        mpp = 10 / pair[0] if pair[0] else math.inf
        return Scale(_square(mpp, mpp), "objective")
    raise SlideError(Status.NO_MPP, f"the file does not state its resolution; {REMEDY}")


def _numbers(properties: Mapping[str, str], x: str, y: str) -> tuple[float, float] | None:
    try:
        return float(properties[x]), float(properties[y])
    except (KeyError, ValueError):
        return None


def _square(x: float, y: float) -> float:
    for value in (x, y):
        if not SENSIBLE_MPP[0] <= value <= SENSIBLE_MPP[1]:
            raise SlideError(Status.ABSURD_MPP, f"{value:g} um/px is no resolution of a slide; {REMEDY}")
    if abs(x - y) > SQUARE * (x + y) / 2:
        raise SlideError(
            Status.ANISOTROPIC, f"its pixels are {x:g} by {y:g} um, not square; if the file is wrong, {REMEDY}"
        )
    return (x + y) / 2
