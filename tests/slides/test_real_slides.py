"""Every slide of ../shared has the status that it should."""

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


def outcome(path, folder, mpp=None):
    """Status; source of the mpp and number of tiles where the slide is ok."""
    record = SlideRecord(path.stem, path, mpp)
    try:
        fields = run_in_subprocess(segment_slide, record, folder, Tissue(), timeout=TIMEOUT)
        tiles = run_in_subprocess(tile_slide, record, folder, folder, Tiles(), timeout=TIMEOUT)["tiles"]
    except SlideError as error:
        return str(error.status), "", 0
    return "ok", fields["mpp_source"], tiles


def test_every_file_has_its_status(shared, atlas, tmp_path):
    paths = [path for path in (shared / "slides").resolve().rglob("*.*") if path.suffix in (".svs", ".ndpi")]
    outcomes = {path.stem: outcome(path, tmp_path) for path in paths}
    assert len(outcomes) == 30
    assert outcomes.pop("test3-DAPI-2-387") == ("not_brightfield", "", 0)
    without_mpp = {name for name, (status, _, _) in outcomes.items() if status == "no_mpp"}
    assert len(without_mpp) == 9, "the atlas slides that state no resolution"
    outcomes |= {path.stem: outcome(path, tmp_path, mpp=0.5) for path in atlas if path.stem in without_mpp}
    assert {status for status, _, _ in outcomes.values()} == {"ok"}
    assert {source for _, source, _ in outcomes.values()} == {"vendor", "sheet"}
    assert min(tiles for _, _, tiles in outcomes.values()) > 10


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
