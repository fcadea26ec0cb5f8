"""Every slide of ../shared has the status that it should."""

import re

import cv2
import numpy as np
import pytest

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Tiles, Tissue
from roformermil.errors import SlideError
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.tile_table import read_tile_table
from roformermil.slides.tiles import fit_tile, read_tile

pytestmark = pytest.mark.shared
TIMEOUT = 120


NO_MPP = "the file does not state its resolution; give the resolution in um/px"
COARSE = r"level 2 \(160 x 160 px\) differs from level 0 at .* is not used"
CASES = [  # file of ../shared/cases, mpp of the slide sheet, status, source of the mpp, tiles, message or warning
    ("coarse_level_white", None, "ok", "tiff", (75, 77), COARSE),
    ("coarse_level_shifted", None, "ok", "tiff", (75, 77), COARSE),
    (
        "level0_half_absent",
        None,
        "ok",
        "tiff",
        (25, 27),
        r"lacks pixels of 50 of 7\d tiles on tissue \(level 0\), which are left out",
    ),
    ("dpi72", None, "no_mpp", "", (0, 0), NO_MPP),
    ("no_mpp", None, "no_mpp", "", (0, 0), NO_MPP),
    ("dpi72", 0.5, "ok", "sheet", (1, 1), "27% of the tissue is at the right or lower edge"),
    ("no_mpp", 0.5, "ok", "sheet", (1, 1), "27% of the tissue is at the right or lower edge"),
    ("thin", None, "too_small", "", (0, 0), r"2560 x 100 px\) is smaller than one tile \(256 px"),
]


def outcome(path, folder, mpp=None):
    """Status, source of the mpp, number of tiles, and the message or the warnings."""
    record = SlideRecord(path.stem, path, mpp)
    try:
        fields = run_in_subprocess(segment_slide, record, folder, Tissue(), timeout=TIMEOUT)
        tiled = run_in_subprocess(tile_slide, record, folder, folder, Tiles(), timeout=TIMEOUT)
    except SlideError as error:
        return str(error.status), "", 0, str(error)
    return "ok", fields["mpp_source"], tiled["tiles"], f"{fields['warnings']}; {tiled['warnings']}"


@pytest.mark.parametrize(("name", "mpp", "status", "source", "tiles", "message"), CASES)
def test_odd_slides_have_their_status_tiles_and_message(shared, tmp_path, name, mpp, status, source, tiles, message):
    found = outcome(shared / f"cases/slides/{name}.tif", tmp_path, mpp)
    assert found[:2] == (status, source) and tiles[0] <= found[2] <= tiles[1]
    assert re.search(message, found[3])


def test_every_file_has_its_status(shared, atlas, tmp_path):
    paths = [path for path in (shared / "slides").resolve().rglob("*.*") if path.suffix in (".svs", ".ndpi")]
    outcomes = {path.stem: outcome(path, tmp_path) for path in paths}
    assert len(outcomes) == 30
    assert outcomes.pop("test3-DAPI-2-387")[0] == "not_brightfield"
    without_mpp = {name for name, (status, *_) in outcomes.items() if status == "no_mpp"}
    assert len(without_mpp) == 9, "the atlas slides that state no resolution"
    outcomes |= {path.stem: outcome(path, tmp_path, mpp=0.5) for path in atlas if path.stem in without_mpp}
    assert {status for status, *_ in outcomes.values()} == {"ok"}
    assert {source for _, source, *_ in outcomes.values()} == {"vendor", "sheet"}
    assert min(tiles for _, _, tiles, _ in outcomes.values()) > 10
    assert not [name for name, (*_, warnings) in outcomes.items() if re.search("differs from|lacks pixels", warnings)]


def test_every_level_of_real_slides_shows_what_level_0_shows(shared):
    """Also those that no run with these settings reads."""
    levels = 0
    for path in sorted((shared / "slides").resolve().rglob("*.*")):
        if path.suffix in (".svs", ".ndpi"):
            with SlideReader(path, mpp=1.0) as slide:
                for downsample in slide.downsamples[1:]:
                    slide.overview(float(downsample))
                levels += len(slide.downsamples) - 1
                assert not slide.warnings, path
    assert levels == 63


def test_the_40x_twin_has_tiles_of_the_same_physical_size(atlas, tmp_path):
    sides, grain = [], []
    for path in [path for path in atlas if path.stem in ("ectopic-pancreas", "ectopic-pancreas_40x")]:
        assert outcome(path, tmp_path)[0] == "ok"
        table = read_tile_table(tmp_path / f"{path.stem}.npz")
        with SlideReader(path) as slide:
            sides.append(table.spec.base_px * slide.scale.mpp)
            tiles = [fit_tile(read_tile(slide, x, y, table.spec), table.spec) for x, y in table.coords[:8].tolist()]
        assert all(tile.shape == (256, 256, 3) for tile in tiles)
        grain.append(np.mean([cv2.Laplacian(cv2.cvtColor(t, cv2.COLOR_RGB2GRAY), cv2.CV_64F).std() for t in tiles]))
    assert 0.5 < np.divide(*grain) < 2  # read at 40x, a tile's grain would be much coarser
    one, two = sides
    assert one == pytest.approx(128, rel=0.0025) and two == pytest.approx(one, rel=0.0025)  # 243 and 487 level-0 pixels
