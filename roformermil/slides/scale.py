"""A slide's resolution, taken from an ordered list of sources and never guessed from the image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from roformermil.errors import SlideError, Status

PLAUSIBLE_MPP = (0.01, 100.0)
COARSEST_TIFF_MPP = 4.0  # coarser ones are resolutions of screens, such as 72 dpi (353 um/px)
MAX_ANISOTROPY = 0.01  # relative difference of a pixel's sides; more would distort every tile
UM_PER_TIFF_UNIT = {"centimeter": 1e4, "inch": 25400.0}
MPP_X, MPP_Y, POWER = "openslide.mpp-x", "openslide.mpp-y", "openslide.objective-power"
VENDOR, GENERIC_TIFF = "openslide.vendor", "generic-tiff"
REMEDY = "give the resolution in um/px (slide sheet: column mpp; predict: --mpp)"


@dataclass(frozen=True)
class Scale:
    """A slide's resolution and its source."""

    mpp: float
    source: str  # sheet, vendor, tiff or objective


def find_scale(properties: Mapping[str, str], sheet_mpp: float | None = None) -> Scale:
    """The mpp from the first source that states one: slide sheet, vendor property, TIFF resolution, objective power.

    Raises SlideError: `no_mpp` when none does, `absurd_mpp` outside PLAUSIBLE_MPP, `anisotropic` for pixels not square.
    """
    if sheet_mpp is not None:
        return Scale(_mean_mpp(sheet_mpp, sheet_mpp), "sheet")
    states_own = (
        properties.get(VENDOR) != GENERIC_TIFF
    )  # for these, OpenSlide derives its mpp from the TIFF's resolution
    if states_own and (pair := _number_pair(properties, MPP_X, MPP_Y)):
        return Scale(_mean_mpp(*pair), "vendor")
    unit = UM_PER_TIFF_UNIT.get(properties.get("tiff.ResolutionUnit", ""))
    pair = _number_pair(properties, "tiff.XResolution", "tiff.YResolution")
    if unit and pair and min(pair) > 0 and unit / min(pair) <= COARSEST_TIFF_MPP:
        return Scale(_mean_mpp(unit / pair[0], unit / pair[1]), "tiff")
    if pair := _number_pair(properties, POWER, POWER):
        mpp = 10 / pair[0] if pair[0] else math.inf
        return Scale(_mean_mpp(mpp, mpp), "objective")
    raise SlideError(Status.NO_MPP, f"the file does not state its resolution; {REMEDY}")


def _number_pair(properties: Mapping[str, str], x: str, y: str) -> tuple[float, float] | None:
    try:
        return float(properties[x]), float(properties[y])
    except (KeyError, ValueError):
        return None


def _mean_mpp(x: float, y: float) -> float:
    for value in (x, y):
        if not PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]:
            raise SlideError(Status.ABSURD_MPP, f"{value:g} um/px is not a plausible resolution of a slide; {REMEDY}")
    if abs(x - y) > MAX_ANISOTROPY * (x + y) / 2:
        raise SlideError(Status.ANISOTROPIC, f"pixels are {x:g} by {y:g} um, not square; if that is wrong, {REMEDY}")
    return (x + y) / 2
