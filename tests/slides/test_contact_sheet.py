import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

from roformermil.cohort.slide_table import SlideRecord
from roformermil.errors import Status
from roformermil.slides import contact_sheet
from roformermil.slides.contact_sheet import CAPTION_PX, GAP_PX, THUMBNAIL_PX, write_contact_sheet

GREEN = (30, 200, 30)
CELL_WIDTH, CELL_HEIGHT = THUMBNAIL_PX + GAP_PX, THUMBNAIL_PX + CAPTION_PX + GAP_PX


def test_slides_are_in_the_order_of_their_records(tmp_path):
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    for k, colour in enumerate(colours):
        Image.new("RGB", (1000, 800), colour).save(tmp_path / f"{k}.jpg", quality=95)
    write_contact_sheet([SlideRecord(str(k), Path()) for k in range(3)], tmp_path, tmp_path / "sheet.jpg")
    picture = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    assert picture.shape == (2 * CELL_HEIGHT + GAP_PX, 2 * CELL_WIDTH + GAP_PX, 3)
    for k, colour in enumerate(colours):
        y, x = k // 2 * CELL_HEIGHT + THUMBNAIL_PX // 2, k % 2 * CELL_WIDTH + THUMBNAIL_PX // 2
        assert np.abs(picture[y, x] - colour).max() < 20


def test_lost_slides_are_captioned_in_red_and_framed_where_there_is_no_mask(tmp_path):
    records = [
        SlideRecord("ok", Path(), tissue_mm2=1.5, tiles=20),
        SlideRecord("no_tiles", Path(), status=Status.EMPTY, stage="tile"),
        SlideRecord("no_mask", Path(), status=Status.NO_MPP, stage="segment"),  # its outline is from an earlier run
    ]
    for record in records:
        Image.new("RGB", (1000, 1000), GREEN).save(tmp_path / f"{record.slide_id}.jpg", quality=95)
    picture = np.asarray(contact_sheet.draw_contact_sheet(records, tmp_path)).astype(int)[GAP_PX:, GAP_PX:]
    corners = ((0, 0), (0, CELL_WIDTH), (CELL_HEIGHT, 0))
    cells = ok, no_tiles, no_mask = [picture[y : y + CELL_HEIGHT, x : x + CELL_WIDTH] for y, x in corners]
    middle = THUMBNAIL_PX // 2
    captions = np.array([cell[THUMBNAIL_PX:] for cell in cells])
    assert (captions.min(axis=(1, 2, 3)) < 200).all(), "there is text"
    assert (captions[..., 0] - captions[..., 1] > 40).any(axis=(1, 2)).tolist() == [False, True, True]
    assert np.abs([cell[middle, middle] - GREEN for cell in (ok, no_tiles)]).max() < 20
    assert no_mask[middle, middle].tolist() == [255, 255, 255]
    assert no_mask[0, middle].tolist() == no_mask[middle, 0].tolist() == list(contact_sheet.RED)


def test_a_slide_that_the_sheet_leaves_out_is_not_red(tmp_path):
    record = SlideRecord("left_out", Path(), status=Status.EXCLUDED, message="a biopsy", stage="slide sheet")
    pixels = np.asarray(contact_sheet.draw_contact_sheet([record], tmp_path)).astype(int)
    assert (pixels.min(axis=2) < 200).any() and np.ptp(pixels, axis=2).max() == 0, "there is text, all grey"


def test_what_to_check_is_below_the_slide_in_orange(tmp_path):
    warnings = "97% of the scan is tissue: look at its outline; level 2 is white and is not used"
    records = [SlideRecord("plain", Path()), SlideRecord("odd", Path(), warnings=warnings)]
    assert [line for line, _ in contact_sheet._caption(records[1])][2] == (
        "check: 97% of the scan is tissue; level 2 is white and is not used"
    )
    picture = np.asarray(contact_sheet.draw_contact_sheet(records, tmp_path)).astype(int)
    captions = picture[GAP_PX + THUMBNAIL_PX : GAP_PX + THUMBNAIL_PX + CAPTION_PX]
    orange = (captions[..., 0] - captions[..., 2] > 100) & (captions[..., 1] > 80)
    assert not orange[:, :CELL_WIDTH].any() and orange[2 * contact_sheet.LINE_PX :, CELL_WIDTH:].any()


def test_the_reports_page_is_no_wider_than_a_screen(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)).save(tmp_path / "a.jpg")
    for count, width in ((4, 2 * CELL_WIDTH + GAP_PX), (200, contact_sheet.PAGE_PX)):
        write_contact_sheet([SlideRecord("a", Path())] * count, tmp_path, tmp_path / "sheet.jpg")
        data = re.search(r'src="data:image/jpeg;base64,([^"]+)"', (tmp_path / "sheet.html").read_text())
        assert Image.open(io.BytesIO(base64.b64decode(data[1]))).width == width


def test_more_slides_than_a_picture_takes_continue_on_further_ones_which_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(contact_sheet, "SLIDES_PER_PICTURE", 4)
    records = [SlideRecord(str(k), Path()) for k in range(9)]
    for count, pictures in ((9, 3), (5, 2), (4, 1)):
        write_contact_sheet(records[:count], tmp_path, tmp_path / "sheet.jpg")
        names = ["sheet.jpg", *(f"sheet_{k}.jpg" for k in range(2, pictures + 1))]
        assert sorted(path.name for path in tmp_path.glob("*.jpg")) == names
        page = (tmp_path / "sheet.html").read_text()
        assert re.findall(r'href="([^"]+)"', page) == names
        assert re.findall(r'src="([^"]+)"', page)[1:] == names[1:]
    write_contact_sheet(records, tmp_path, tmp_path / "sheet.jpg")
    with Image.open(tmp_path / "sheet_3.jpg") as last:
        assert last.size == (CELL_WIDTH + GAP_PX, CELL_HEIGHT + GAP_PX)


def test_long_names_keep_both_ends():
    font = ImageFont.load_default(size=12)
    text = contact_sheet.shorten_middle("TCGA-AD-6964-01Z-00-DX1.1A2B3C4D-5E6F-7890", font, 150)
    assert text.startswith("TCGA-AD") and text.endswith("7890") and font.getlength(text) <= 150
    assert contact_sheet.shorten_middle("short", font, 150) == "short"


def test_the_page_says_in_full_what_is_lost_and_what_to_check_and_an_empty_slide_has_its_picture(tmp_path):
    records = [
        SlideRecord("odd<1>", Path(), warnings="97% of the scan is tissue: look at its outline"),
        SlideRecord("empty", Path(), status=Status.EMPTY, message="no tissue found; exclude it", stage="segment"),
    ]
    Image.new("RGB", (1000, 1000), GREEN).save(tmp_path / "empty.jpg", quality=95)
    write_contact_sheet(records, tmp_path, tmp_path / "sheet.jpg")
    page = (tmp_path / "sheet.html").read_text()
    assert "<li>empty: empty: no tissue found; exclude it</li>" in page and "2 slides" in page
    assert "<li>odd&lt;1&gt;: 97% of the scan is tissue: look at its outline</li>" in page
    picture = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    assert np.abs(picture[GAP_PX + THUMBNAIL_PX // 2, CELL_WIDTH + GAP_PX + THUMBNAIL_PX // 2] - GREEN).max() < 20
