import base64
import io
import re

import numpy as np
from PIL import Image, ImageFont

from roformermil.cohort.slide_table import SlideRecord
from roformermil.slides.contact_sheet import CAPTION, GAP, PAGE, THUMB, shorten, write_contact_sheet


def test_every_slide_is_on_the_sheet_and_lost_ones_in_red(tmp_path):
    colours = {"a": (200, 30, 30), "b": (30, 200, 30), "c": (30, 30, 200)}
    for name, colour in colours.items():
        Image.new("RGB", (1000, 800), colour).save(tmp_path / f"{name}.jpg", quality=95)
    rows = [SlideRecord(name, "", tissue_mm2=1.5, tiles=20) for name in colours]
    rows.append(SlideRecord("d", "", status="no_mpp", stage="segment"))
    write_contact_sheet(rows, tmp_path, tmp_path / "sheet.jpg")
    sheet = np.asarray(Image.open(tmp_path / "sheet.jpg")).astype(int)
    assert sheet.shape == (2 * (THUMB + CAPTION + GAP) + GAP, 2 * (THUMB + GAP) + GAP, 3)
    for k, colour in enumerate(colours.values()):
        y, x = k // 2 * (THUMB + CAPTION + GAP) + THUMB // 2, k % 2 * (THUMB + GAP) + THUMB // 2
        assert np.abs(sheet[y, x] - colour).max() < 20
    last = sheet[THUMB + CAPTION + GAP :, THUMB + GAP :]
    assert (last[..., 0] - last[..., 1] > 40).sum() > 100  # a red frame and words


def test_the_reports_page_is_no_wider_than_a_screen(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)).save(tmp_path / "a.jpg")
    for count, width in ((4, 2 * (THUMB + GAP) + GAP), (200, PAGE)):
        write_contact_sheet([SlideRecord("a", "", tissue_mm2=1.0, tiles=1)] * count, tmp_path, tmp_path / "sheet.jpg")
        page = (tmp_path / "sheet.html").read_text()
        data = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page)
        assert Image.open(io.BytesIO(base64.b64decode(data[1]))).width == width


def test_long_names_keep_both_ends():
    font = ImageFont.load_default(size=12)
    text = shorten("TCGA-AD-6964-01Z-00-DX1.1A2B3C4D-5E6F-7890", font, 150)
    assert text.startswith("TCGA-AD") and text.endswith("7890") and font.getlength(text) <= 150
    assert shorten("short", font, 150) == "short"
