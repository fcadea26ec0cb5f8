"""A slide's resolution, taken from an ordered list of sources and never guessed from the image."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from roformermil.errors import SlideError, Status

PLAUSIBLE_MPP = (0.01, 100.0)
COARSEST_TIFF_MPP = 4.0  # coarser ones are resolutions of screens, such as 72 dpi (353 um/px)
MAX_DIFFERENCE = 0.1  # between the resolution that the slide sheet gives and the file's own, without a warning
MAX_ANISOTROPY = 0.01  # relative difference of a pixel's sides; more would distort every tile
UM_PER_TIFF_UNIT = {"centimeter": 1e4, "inch": 25400.0}
MPP_X, MPP_Y, POWER = "openslide.mpp-x", "openslide.mpp-y", "openslide.objective-power"
VENDOR, GENERIC_TIFF = "openslide.vendor", "generic-tiff"
GIVEN_BY = "slide sheet: column mpp"
SOURCES = {"sheet": "slide sheet", "vendor": "scanner", "tiff": "TIFF tag", "objective": "objective power"}
REMEDY = f"give the resolution in um/px ({GIVEN_BY})"


@dataclass(frozen=True)
class Scale:
    """A slide's resolution and its source."""

    mpp: float
    source: str  # sheet, vendor, tiff or objective
    warning: str = ""  # where the slide sheet contradicts the file

    def __str__(self) -> str:
        return f"{self.mpp:.4g} um/px" + (f", as given ({GIVEN_BY})" if self.source == "sheet" else "")


def mpp_source_text(source: str) -> str:
    """The source of a resolution (`Scale.source`) for a person; "" where there is none."""
    return SOURCES.get(source, source)


def find_scale(properties: Mapping[str, str], sheet_mpp: float | None = None) -> Scale:
    """The mpp from the first source that states one: slide sheet, vendor property, TIFF resolution, objective power.

    Raises SlideError: `no_mpp` when none does, `absurd_mpp` outside PLAUSIBLE_MPP, `anisotropic` for pixels not square.
    """
    if sheet_mpp is not None:
        return Scale(_check_given(sheet_mpp), "sheet", _contradiction(sheet_mpp, properties))
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
    raise SlideError(Status.NO_MPP, "the file does not state its resolution", REMEDY)


def _check_given(mpp: float) -> float:
    if not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
        problem = f"{mpp:g} um/px, as given ({GIVEN_BY}), is not a plausible resolution of a slide"
        raise SlideError(Status.ABSURD_MPP, problem, "correct it")
    return mpp


def _contradiction(given: float, properties: Mapping[str, str]) -> str:
    """A warning where the file states another resolution than the slide sheet. An objective's power is only nominal."""
    with suppress(SlideError):
        stated = find_scale(properties)
        if stated.source != "objective" and abs(given / stated.mpp - 1) > MAX_DIFFERENCE:
            remedy = "the slide sheet counts. Correct its column mpp, or leave it empty to use the file's own"
            return f"the slide sheet says {given:g} um/px, the file {stated.mpp:.4g} ({stated.source}): {remedy}"
    return ""


def _number_pair(properties: Mapping[str, str], x: str, y: str) -> tuple[float, float] | None:
    try:
        return float(properties[x]), float(properties[y])
    except (KeyError, ValueError):
        return None


def _mean_mpp(x: float, y: float) -> float:
    for value in (x, y):
        if not PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1]:
            raise SlideError(Status.ABSURD_MPP, f"{value:g} um/px is not a plausible resolution of a slide", REMEDY)
    if abs(x - y) > MAX_ANISOTROPY * (x + y) / 2:
        raise SlideError(Status.ANISOTROPIC, f"pixels are {x:g} by {y:g} um, not square", f"if that is wrong, {REMEDY}")
    return (x + y) / 2
