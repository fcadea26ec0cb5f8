"""Sites of TCGA slides: the tissue source site in their barcodes (`TCGA-A7-A0CE-01Z-00-DX1` is of site A7)."""

import re
from collections.abc import Sequence
from dataclasses import replace

from roformermil.cohort.slide_sheet import SHOWN_MISTAKES, Slide
from roformermil.config.dataset import SitesFrom
from roformermil.errors import SheetError
from roformermil.runtime.text import first_lines

# https://docs.gdc.cancer.gov/Encyclopedia/pages/TCGA_Barcode/: project, tissue source site, participant
BARCODE = re.compile(r"TCGA-([A-Z0-9]{2})-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE)


def with_sites(slides: Sequence[Slide], source: SitesFrom) -> list[Slide]:
    """The slides with the site that `datasets.NAME.sites` asks for: the slide sheet's, or that of the TCGA barcode.

    Raises SheetError, a line per slide that is not left out, for one without a barcode, and for a barcode of another site than the slide sheet's
    column `site` or the barcode of the slide's patient.
    """
    if source == "column":
        return list(slides)
    mistakes, found = [], []
    for slide in slides:
        if slide.exclude:
            found.append(slide)
            continue
        sites = {name: _site(text) for name, text in (("slide_id", slide.slide_id), ("patient_id", slide.patient_id))}
        known = {name: site for name, site in [*sites.items(), ("column site", slide.site.upper())] if site}
        if not any(sites.values()):
            remedy = (
                "slide_id or patient_id must begin like TCGA-A7-A0CE; or fill in column site and leave out sites: tcga"
            )
            mistakes.append(f"slide {slide.slide_id!r} has no TCGA barcode: {remedy}")
        elif len(set(known.values())) > 1:
            differing = ", ".join(f"{name} {site}" for name, site in known.items())
            mistakes.append(f"slide {slide.slide_id!r} is of several sites: {differing}; correct the slide sheet")
        else:
            found.append(replace(slide, site=next(iter(known.values()))))
    if mistakes:
        raise SheetError(first_lines(mistakes, SHOWN_MISTAKES))
    return found


def _site(text: str) -> str:
    """The site in a text that begins with a barcode, else empty."""
    match = BARCODE.match(text)
    return match[1].upper() if match else ""
