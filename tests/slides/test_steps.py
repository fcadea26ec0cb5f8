import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Tiles, Tissue
from roformermil.errors import ConfigError
from roformermil.slides.steps import segment_slide, segment_slides, tile_slide, tile_slides, tissue_settings
from roformermil.slides.tile_table import read_tile_table
from tests.factories import raises_slide_error

TILES = Tiles(tile_px=128)


@pytest.fixture
def record(slide, tmp_path):
    """Of a slide whose mask is in tmp_path, with the fields that `segment_slide` returned."""
    record = SlideRecord("one", slide)
    return replace(record, **segment_slide(record, tmp_path, Tissue()))


def test_a_slide_has_a_mask_an_outline_polygons_and_the_tiles_that_its_mask_covers(record, tmp_path):
    assert (record.width, record.height) == (1500, 1200)
    with Image.open(tmp_path / "one.png") as mask, Image.open(tmp_path / "one.jpg") as outline:
        assert (mask.size, outline.size) == ((94, 75), (1000, 800))
        area = np.asarray(mask).mean() * 1500 * 1200 * 0.25 / 1e6
    assert record.tissue_mm2 == pytest.approx(area, abs=1e-3)
    assert json.loads((tmp_path / "one.geojson").read_text())["features"]
    (tmp_path / "one.npz").write_bytes(b"PK no archive")  # a damaged table is made again
    fields = tile_slide(record, tmp_path, tmp_path, TILES)
    table = read_tile_table(tmp_path / "one.npz")
    assert fields == {"tiles": len(table.grid)} and 20 < len(table.grid) < 11 * 9
    assert (table.coords == table.grid * table.spec.base_px).all() and table.tissue.min() >= 0.25


def test_current_results_are_skipped_and_outdated_ones_are_not(slide, record, tmp_path):
    mask, plain = tmp_path / "one.png", SlideRecord("one", slide)
    written = mask.stat().st_mtime_ns
    assert replace(plain, **segment_slide(plain, tmp_path, Tissue())) == record
    assert mask.stat().st_mtime_ns == written
    segment_slide(plain, tmp_path, Tissue(close=9))
    assert mask.stat().st_mtime_ns > written
    before = tile_slide(plain, tmp_path, tmp_path, TILES)["tiles"]
    after = tile_slide(plain, tmp_path, tmp_path, Tiles(tile_px=128, min_tissue=0.99))["tiles"]
    assert len(read_tile_table(tmp_path / "one.npz").grid) == after < before


@pytest.mark.parametrize("content", [b"no picture", None])
def test_a_damaged_or_missing_mask_is_named_with_the_command_that_repairs_it(record, tmp_path, content):
    (tmp_path / "one.png").write_bytes(content) if content else (tmp_path / "one.png").unlink()
    with raises_slide_error("unreadable", r"one.png: the mask is missing or damaged.*--forcerun segment"):
        tile_slide(record, tmp_path, tmp_path, TILES)


def test_a_batch_has_one_record_per_slide(slide, broken, tmp_path):
    records = [SlideRecord("one", slide), SlideRecord("cut", broken / "cut.svs")]
    records = segment_slides(records, tmp_path, Tissue(), timeout=60, workers=2, progress=False)
    records = tile_slides(records, tmp_path, tmp_path, TILES, timeout=60, progress=False)
    assert [(record.status, record.stage) for record in records] == [("ok", ""), ("unreadable", "segment")]
    assert records[0].tiles == len(read_tile_table(tmp_path / "one.npz").grid)
    assert records[1].content, "known, so that the slide is tried again once its file changed"


def test_a_slide_without_tissue_or_without_a_tile_of_enough_of_it_is_empty(broken, record, tmp_path):
    for _ in range(2):  # computed, then read from the mask
        with raises_slide_error("empty", "no tissue found"):
            segment_slide(SlideRecord("blank", broken / "blank.tif"), tmp_path, Tissue())
    with raises_slide_error("empty", r"no tile is at least 100% tissue; lower tiles.min_tissue"):
        tile_slide(record, tmp_path, tmp_path, Tiles(tile_px=800, min_tissue=1))


def test_the_slide_sheets_settings_override_the_data_sets(slide, tmp_path):
    def settings_of(sheet_tissue, **common):
        return tissue_settings(SlideRecord("one", slide, sheet_tissue=sheet_tissue), Tissue(**common))

    plain, own = settings_of("", threshold=12, close=9), settings_of("{threshold: 200}", threshold=12, close=9)
    assert (plain.threshold, own.threshold, own.close) == (12, 200, 9)
    other = settings_of("{method: otsu}", threshold=12, min_area=5)
    assert (other.method, other.min_area) == ("otsu", 5)
    with pytest.raises(ConfigError, match=r"slide one, column tissue.*threshold has no effect"):
        settings_of("{threshold: 5}", method="otsu")
    with raises_slide_error("empty", "no tissue found"):
        segment_slide(SlideRecord("one", slide, sheet_tissue="{threshold: 200}"), tmp_path, Tissue())


def test_a_slide_replaced_since_it_was_segmented_is_named(slide, tmp_path):
    copy = Path(shutil.copy(slide, tmp_path / "copy.tif"))
    record = SlideRecord("one", copy)
    segment_slide(record, tmp_path, Tissue())
    copy.write_bytes(slide.read_bytes() + b"more")
    with raises_slide_error("changed", r"copy.tif: the file changed during processing"):
        tile_slide(record, tmp_path, tmp_path, Tiles())
