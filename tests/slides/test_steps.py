import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Tiles, Tissue
from roformermil.errors import ConfigError
from roformermil.slides.steps import (
    inspect_slide,
    segment_slide,
    segment_slides,
    tile_slide,
    tile_slides,
    tissue_settings,
)
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
    assert fields["tiles"] == len(table.grid) and 20 < len(table.grid) < 11 * 9
    assert (table.coords == table.grid * table.spec.base_px).all() and table.tissue.min() >= 0.25


def test_current_results_are_skipped_and_outdated_ones_are_not(slide, record, tmp_path):
    mask, plain = tmp_path / "one.png", SlideRecord("one", slide)
    written = mask.stat().st_mtime_ns
    assert replace(plain, **segment_slide(plain, tmp_path, Tissue())) == record
    assert mask.stat().st_mtime_ns == written
    segment_slide(plain, tmp_path, Tissue(mpp=9))
    assert mask.stat().st_mtime_ns > written
    before = tile_slide(plain, tmp_path, tmp_path, TILES)["tiles"]
    after = tile_slide(plain, tmp_path, tmp_path, Tiles(tile_px=128, min_tissue=0.99))["tiles"]
    assert len(read_tile_table(tmp_path / "one.npz").grid) == after < before


def test_a_tile_table_stays_while_its_mask_slide_and_settings_do(slide, tmp_path):
    record, path = SlideRecord("one", slide), tmp_path / "one.npz"
    masks, dates = [], []
    for tissue in ({}, {"min_area": 1}, {"close": 9}):  # the second finds the same tissue as the first
        segment_slide(record, tmp_path, Tissue(method="hsv", **tissue))
        tile_slide(record, tmp_path, tmp_path, TILES)
        masks.append((tmp_path / "one.png").read_bytes())
        dates.append(path.stat().st_mtime_ns)
    assert len(set(masks)) == 3 and dates[0] == dates[1] < dates[2]


def test_warnings_about_tiles_are_returned_whether_the_table_is_new_or_current(record, tmp_path):
    outside = r"\d\d% of the tissue is at the right or lower edge"
    for _ in range(2):
        assert re.match(outside, tile_slide(record, tmp_path, tmp_path, Tiles(tile_px=800))["warnings"])
    with raises_slide_error("empty", outside):
        tile_slide(record, tmp_path, tmp_path, Tiles(tile_px=800, min_tissue=1))


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
    with raises_slide_error("empty", r"no tile is at least 100% tissue.*; lower tiles.min_tissue"):
        tile_slide(record, tmp_path, tmp_path, Tiles(tile_px=800, min_tissue=1))


def inspect(record, tissue, tiles):
    """All fields of SlideRecord that a trial yields."""
    fields = {}
    for known in inspect_slide(record, tissue, tiles):
        fields |= known
    return {name: value for name, value in fields.items() if name not in ("format", "sample")}


def test_a_trial_finds_what_both_stages_find_and_writes_nothing(slide, broken, record, tmp_path):
    tiled = tile_slide(record, tmp_path, tmp_path, TILES)
    files = sorted(tmp_path.iterdir())
    assert replace(record, **tiled) == replace(record, **inspect(SlideRecord("one", slide), Tissue(), TILES))
    with raises_slide_error("too_coarse"):
        inspect(record, Tissue(), Tiles(target_mpp=0.25))
    with raises_slide_error("empty", "no tissue found"):
        inspect(SlideRecord("blank", broken / "blank.tif"), Tissue(), TILES)
    with raises_slide_error("empty", r"no tile is at least 100% tissue"):
        inspect(record, Tissue(), Tiles(tile_px=800, min_tissue=1))
    assert sorted(tmp_path.iterdir()) == files


def test_what_is_odd_about_the_tissue_is_in_the_record_also_when_read_from_the_mask(tmp_path):
    grains = np.random.default_rng(0).normal((165, 85, 135), 12, (64, 64, 3)).clip(0, 255).astype(np.uint8)
    write_pyramid(tmp_path / "full.tif", grains.repeat(16, axis=0).repeat(16, axis=1))
    for _ in range(2):
        fields = segment_slide(SlideRecord("full", tmp_path / "full.tif"), tmp_path, Tissue())
        assert fields["warnings"].startswith(
            "100% of the scan is tissue: it is cropped tightly, or glass was taken for"
        )


def test_the_slide_sheets_settings_override_the_data_sets(slide, tmp_path):
    def settings_of(sheet_tissue, **common):
        settings = Tissue(**{"method": "hsv"} | common)
        return tissue_settings(SlideRecord("one", slide, sheet_tissue=sheet_tissue), settings)

    plain, own = settings_of("", threshold=12, close=9), settings_of("{threshold: 200}", threshold=12, close=9)
    assert (plain.threshold, own.threshold, own.close) == (12, 200, 9)
    other = settings_of("{method: otsu}", threshold=12, min_area=5)
    assert (other.method, other.min_area) == ("otsu", 5)
    with pytest.raises(ConfigError, match=r"slide one, column tissue.*threshold has no effect"):
        settings_of("{threshold: 5}", method="otsu")
    with raises_slide_error("empty", "no tissue found"):
        segment_slide(SlideRecord("one", slide, sheet_tissue="{method: hsv, threshold: 200}"), tmp_path, Tissue())


def test_a_slide_replaced_since_it_was_segmented_is_named(slide, tmp_path):
    copy = Path(shutil.copy(slide, tmp_path / "copy.tif"))
    record = SlideRecord("one", copy)
    segment_slide(record, tmp_path, Tissue())
    copy.write_bytes(slide.read_bytes() + b"more")
    with raises_slide_error("changed", r"copy.tif: the file changed during processing"):
        tile_slide(record, tmp_path, tmp_path, Tiles())
