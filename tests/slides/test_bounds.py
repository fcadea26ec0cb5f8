"""Partly scanned slides, by a file of the Leica format, whose canvas is larger than the scan: OpenSlide counts pixels
from the corner of the canvas, QuPath from the corner of the scan."""

import json

import numpy as np
import pytest
import tifffile

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Tissue
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import segment_slide
from roformermil.slides.thumbnails import read_thumbnails

NM = 500  # nanometres per pixel
CANVAS, SCAN, AT = (2000, 1500), (800, 600), (300, 200)  # level-0 pixels
TISSUE = (400, 100, 640, 340)  # left, top, right, bottom, in pixels of the scan


def image_xml(name, levels, size, at, power) -> str:
    """One image in the file's description. levels: width, height and page of the TIFF."""
    dimensions = [f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{p}"/>' for r, (w, h, p) in enumerate(levels)]
    return (
        f'<image name="{name}"><creationDate>2020-01-01T00:00:00Z</creationDate><device model="m" version="1"/>'
        f'<pixels sizeX="{levels[0][0]}" sizeY="{levels[0][1]}">{"".join(dimensions)}</pixels>'
        f'<view sizeX="{size[0] * NM}" sizeY="{size[1] * NM}" offsetX="{at[0] * NM}" offsetY="{at[1] * NM}" '
        f'spacingZ="0"/><scanSettings><objectiveSettings><objective>{power}</objective></objectiveSettings>'
        "<illuminationSettings><numericalAperture>0.4</numericalAperture>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
    )


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory):
    pixels = np.full((SCAN[1], SCAN[0], 3), 245, np.uint8)
    left, top, right, bottom = TISSUE
    pixels[top:bottom, left:right] = (190, 90, 160)
    description = (
        '<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:1">'
        f'<collection name="c" sizeX="{CANVAS[0] * NM}" sizeY="{CANVAS[1] * NM}"><barcode></barcode>'
        + image_xml("macro", [(200, 150, 2)], CANVAS, (0, 0), 1)
        + image_xml("scan", [(*SCAN, 0), (SCAN[0] // 2, SCAN[1] // 2, 1)], SCAN, AT, 20)
        + "</collection></scn>"
    )
    path = tmp_path_factory.mktemp("scn") / "s.scn"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for page in (pixels, pixels[::2, ::2], np.full((150, 200, 3), 255, np.uint8)):
            options = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
            file.write(page, description=description if page is pixels else None, **options)
    return path


def test_positions_count_from_the_canvas_and_the_scans_corner_is_stated(slide_path):
    x, y = AT[0] + TISSUE[0], AT[1] + TISSUE[1]
    with SlideReader(slide_path) as slide:
        assert (slide.reader, slide.size, slide.scale.mpp, slide.origin) == ("openslide", CANVAS, NM / 1000, AT)
        assert slide.read(x - 20, y + 20, 10, 10).min() > 230 > slide.read(x + 20, y + 20, 10, 10).max()
    thumbnails = read_thumbnails(SlideRecord("s", slide_path), [[x, y]], 128, 560, 88)
    assert (thumbnails.size, thumbnails.origin) == (CANVAS, AT)
    assert thumbnails.tiles[0].mean(axis=(0, 1)) == pytest.approx((190, 90, 160), abs=6)


def test_polygons_for_qupath_count_from_the_scans_corner(slide_path, tmp_path):
    fields = segment_slide(SlideRecord("s", slide_path), tmp_path, Tissue(mpp=4.0, min_area=0))
    (feature,) = json.loads((tmp_path / "s.geojson").read_text())["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert [*ring.min(axis=0), *ring.max(axis=0)] == pytest.approx(TISSUE, abs=24)  # three pixels of the mask
    assert fields["tissue_mm2"] == pytest.approx(0.24 * 0.24 / 4, rel=0.25)
