import json

import numpy as np
import pytest
from PIL import Image

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Tiles, Tissue
from roformermil.errors import ConfigError, SlideError
from roformermil.slides.steps import read_tiles, segment_slide, tile_slide, tissue_settings


@pytest.fixture
def segmented(slide, tmp_path):
    row = SlideRecord("one", str(slide))
    facts = segment_slide(row, tmp_path, Tissue())
    return row, tmp_path, facts


def test_segment_leaves_mask_outline_and_polygons(segmented):
    _, folder, facts = segmented
    assert (facts["width"], facts["height"]) == (1500, 1200)
    with Image.open(folder / "one.png") as mask, Image.open(folder / "one.jpg") as overlay:
        assert mask.size == (94, 75)
        assert overlay.size == (1000, 800)
        area = np.asarray(mask).mean() * 1500 * 1200 * 0.25 / 1e6
    assert facts["tissue_mm2"] == pytest.approx(area, abs=1e-3)
    assert json.loads((folder / "one.geojson").read_text())["features"]


def test_tile_keeps_what_the_mask_covers(segmented):
    row, folder, _ = segmented
    facts = tile_slide(row, folder, folder / "tiles", Tiles(size=128))
    table = read_tiles(folder / "tiles/one.npz")
    assert facts == {"tiles": len(table.grid)}
    assert 20 < len(table.grid) < 11 * 9
    assert (table.coords == table.grid * table.spec.base_px).all()
    assert table.tissue.min() >= 0.25


def test_current_results_are_skipped_and_stale_ones_are_not(segmented):
    row, folder, facts = segmented
    stamp = (folder / "one.png").stat().st_mtime_ns
    assert segment_slide(row, folder, Tissue()) == facts
    assert (folder / "one.png").stat().st_mtime_ns == stamp
    segment_slide(row, folder, Tissue(close=9))
    assert (folder / "one.png").stat().st_mtime_ns > stamp

    tile_slide(row, folder, folder, Tiles(size=128))
    before = len(read_tiles(folder / "one.npz").grid)
    tile_slide(row, folder, folder, Tiles(size=128, min_tissue=0.99))
    assert len(read_tiles(folder / "one.npz").grid) < before


@pytest.mark.parametrize("content", [b"", b"PK no archive", None])
def test_a_damaged_or_earlier_tile_table_is_made_anew(segmented, content):
    row, folder, _ = segmented
    whole = tile_slide(row, folder, folder, Tiles(size=128))
    if content is None:  # as a version without `tiles` among its information wrote it
        np.savez(folder / "one.npz", grid=np.zeros((3, 2)), info=np.array(json.dumps({"fingerprint": "x"})))
    else:
        (folder / "one.npz").write_bytes(content)
    assert tile_slide(row, folder, folder, Tiles(size=128)) == whole


def test_a_blank_slide_is_empty(broken, tmp_path):
    for _ in range(2):  # found anew, and remembered
        with pytest.raises(SlideError, match="no tissue found") as error:
            segment_slide(SlideRecord("blank", str(broken / "blank.tif")), tmp_path, Tissue())
        assert error.value.status == "empty"


def test_a_slides_own_settings_override_the_data_sets(slide, tmp_path):
    plain = tissue_settings(SlideRecord("one", str(slide)), Tissue(threshold=12, close=9))
    own = tissue_settings(
        SlideRecord("one", str(slide), sheet_tissue="{threshold: 200}"), Tissue(threshold=12, close=9)
    )
    assert (plain.threshold, own.threshold, own.close) == (12, 200, 9)
    other = tissue_settings(
        SlideRecord("one", str(slide), sheet_tissue="{method: otsu}"), Tissue(threshold=12, min_area=5)
    )
    assert (other.method, other.min_area) == ("otsu", 5)
    with pytest.raises(ConfigError, match="slide one, column tissue.*threshold says nothing"):
        tissue_settings(SlideRecord("one", str(slide), sheet_tissue="{threshold: 5}"), Tissue(method="otsu"))
    with pytest.raises(SlideError, match="no tissue found"):
        segment_slide(SlideRecord("one", str(slide), sheet_tissue="{threshold: 200}"), tmp_path, Tissue())


def test_a_slide_replaced_since_it_was_segmented_is_named(slide, tmp_path):
    copy = tmp_path / "copy.tif"
    copy.write_bytes(slide.read_bytes())
    row = SlideRecord("one", str(copy))
    segment_slide(row, tmp_path, Tissue())
    copy.write_bytes(slide.read_bytes() + b"more")
    with pytest.raises(SlideError, match="became another") as error:
        tile_slide(row, tmp_path, tmp_path, Tiles())
    assert error.value.status == "changed"
