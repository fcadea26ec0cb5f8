import json
import shutil
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
def segmented(slide, tmp_path):
    """A record, the folder with its mask, and the fields that `segment_slide` returned."""
    record = SlideRecord("one", slide)
    return record, tmp_path, segment_slide(record, tmp_path, Tissue())


def test_segment_writes_mask_outline_and_polygons(segmented):
    _, folder, fields = segmented
    assert (fields["width"], fields["height"]) == (1500, 1200)
    with Image.open(folder / "one.png") as mask, Image.open(folder / "one.jpg") as outline:
        assert mask.size == (94, 75)
        assert outline.size == (1000, 800)
        area = np.asarray(mask).mean() * 1500 * 1200 * 0.25 / 1e6
    assert fields["tissue_mm2"] == pytest.approx(area, abs=1e-3)
    assert json.loads((folder / "one.geojson").read_text())["features"]


def test_tiles_are_those_that_the_mask_covers(segmented):
    record, folder, _ = segmented
    (folder / "one.npz").write_bytes(b"PK no archive")  # a damaged table is made again
    fields = tile_slide(record, folder, folder, TILES)
    table = read_tile_table(folder / "one.npz")
    assert fields == {"tiles": len(table.grid)}
    assert 20 < len(table.grid) < 11 * 9
    assert (table.coords == table.grid * table.spec.base_px).all()
    assert table.tissue.min() >= 0.25


def test_current_results_are_skipped_and_outdated_ones_are_not(segmented):
    record, folder, fields = segmented
    written = (folder / "one.png").stat().st_mtime_ns
    assert segment_slide(record, folder, Tissue()) == fields
    assert (folder / "one.png").stat().st_mtime_ns == written
    segment_slide(record, folder, Tissue(close=9))
    assert (folder / "one.png").stat().st_mtime_ns > written

    tile_slide(record, folder, folder, TILES)
    before = len(read_tile_table(folder / "one.npz").grid)
    tile_slide(record, folder, folder, Tiles(tile_px=128, min_tissue=0.99))
    assert len(read_tile_table(folder / "one.npz").grid) < before


@pytest.mark.parametrize("content", [b"no picture", None])
def test_a_damaged_or_missing_mask_is_named_with_the_command_that_repairs_it(segmented, content):
    record, folder, _ = segmented
    (folder / "one.png").write_bytes(content) if content else (folder / "one.png").unlink()
    with raises_slide_error("unreadable", r"one.png: the mask is missing or damaged.*--forcerun segment"):
        tile_slide(record, folder, folder, TILES)


def test_a_batch_has_one_record_per_slide(slide, broken, tmp_path):
    records = [SlideRecord("one", slide), SlideRecord("cut", broken / "cut.svs")]
    records = segment_slides(records, tmp_path, Tissue(), timeout=60, workers=2, progress=False)
    records = tile_slides(records, tmp_path, tmp_path, TILES, timeout=60, progress=False)
    assert [(record.status, record.stage) for record in records] == [("ok", ""), ("unreadable", "segment")]
    assert records[0].tiles == len(read_tile_table(tmp_path / "one.npz").grid)
    assert records[1].content, "known, so that the slide is tried again once its file changed"


def test_a_blank_slide_is_empty(broken, tmp_path):
    for _ in range(2):  # computed, then read from the mask
        with raises_slide_error("empty", "no tissue found"):
            segment_slide(SlideRecord("blank", broken / "blank.tif"), tmp_path, Tissue())


def test_a_slide_without_a_tile_of_enough_tissue_is_empty(segmented):
    record, folder, _ = segmented
    with raises_slide_error("empty", r"no tile is at least 100% tissue; lower tiles.min_tissue"):
        tile_slide(record, folder, folder, Tiles(tile_px=800, min_tissue=1))


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
