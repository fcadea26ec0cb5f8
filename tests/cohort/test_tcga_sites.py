from dataclasses import replace
from pathlib import Path

import pytest

from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.tcga_sites import with_sites
from roformermil.errors import SheetError


def slide(slide_id, patient_id="", site=""):
    return Slide(slide_id, patient_id or slide_id, "a", Path("x.svs"), None, site=site)


def test_the_site_is_that_of_the_barcode():
    slides = [
        slide("TCGA-A7-A0CE-01Z-00-DX1.F3B2", "TCGA-A7-A0CE"),
        slide("TCGA-e2-A1B6-01Z-00-DX1", "TCGA-E2-A1B6", site="e2"),
        slide("slide_3", "TCGA-3C-AAAU"),
    ]
    assert [one.site for one in with_sites(slides, "tcga")] == ["A7", "E2", "3C"]
    assert with_sites(slides, "column") == slides, "unless asked for"


def test_a_site_that_does_not_fit_is_an_error():
    slides = [
        slide("TCGA-A7-A0CE-01Z", site="E2"),
        slide("TCGA-A7-A0CF-01Z", "TCGA-E2-A0CF"),
        slide("other-A7-A0CE"),
        slide("TCGA-A7-A0CEX1"),
    ]
    with pytest.raises(SheetError) as error:
        with_sites(slides, "tcga")
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(
        "slide 'TCGA-A7-A0CE-01Z' is of several sites: slide_id A7, patient_id A7, column site E2"
    )
    assert "slide_id A7, patient_id E2; correct the slide sheet" in lines[1]
    assert all("has no TCGA barcode: slide_id or patient_id must begin like TCGA-A7-A0CE" in line for line in lines[2:])


def test_a_slide_that_is_left_out_needs_no_barcode():
    slides = [slide("TCGA-A7-A0CE-01Z"), replace(slide("control"), exclude="not of TCGA")]
    assert [one.site for one in with_sites(slides, "tcga")] == ["A7", ""]
