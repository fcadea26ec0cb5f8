"""Tissue by what differs from the glass: stains, tints, noise, padding and uneven light."""

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Tiles, Tissue
from roformermil.runtime import memory
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.background import find_tissue
from roformermil.slides.padding import find_padding
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.tissue import segment
from tests.factories import raises_slide_error

SHAPE = (200, 300)
METHODS = ("background", "hsv", "otsu")
GLASSES = {
    "neutral": (243, 243, 243),
    "white": (255, 255, 255),
    "warm": (235, 225, 212),
    "yellow": (236, 226, 180),
    "blue": (200, 215, 240),
    "grey": (205, 205, 206),
    "dark grey": (125, 125, 125),
    "beige": (238, 212, 170),
    "lemon": (240, 230, 150),
    "pink": (240, 195, 210),
    "sky": (180, 205, 245),
    "green": (190, 235, 190),
    "lamplight": (250, 205, 140),
}
PADDINGS = {"white": 255, "nearly white": 251, "light": 244, "grey": 128, "dark grey": 32, "blue": (0, 0, 80)}
STAINS = {
    "brown (DAB)": (150, 105, 70),
    "blue (haematoxylin)": (150, 160, 200),
    "deep blue (Giemsa)": (40, 60, 150),
    "pink (eosin)": (220, 150, 190),
    "red (Congo red)": (190, 60, 80),
    "pale": (232, 222, 230),
    "grey": (165, 165, 165),
}


@pytest.fixture
def tissue():
    """Two ellipses, 28% of the image."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (((x - 110) / 70) ** 2 + ((y - 100) / 60) ** 2 < 1) | (((x - 230) / 35) ** 2 + ((y - 70) / 40) ** 2 < 1)


def draw(tissue, stain, glass, noise=3.0, texture=12.0):
    """Textured tissue on noisy glass, (200, 300, 3) uint8. stain: colour on neutral glass; noise, texture: grey levels."""
    rng = np.random.default_rng(0)
    rough = cv2.GaussianBlur(rng.normal(0, texture, SHAPE).astype(np.float32), (0, 0), 1)[..., None]
    image = np.where(tissue[..., None], np.multiply(stain, glass) / 245 + rough, glass)
    return np.clip(image + rng.normal(0, noise, image.shape), 0, 255).astype(np.uint8)


def overlap(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


@pytest.mark.parametrize(
    "stain, glass", [*((stain, "neutral") for stain in STAINS), *(("brown (DAB)", glass) for glass in GLASSES)]
)
def test_any_stain_is_found_on_any_glass(tissue, stain, glass):
    assert overlap(segment(draw(tissue, STAINS[stain], GLASSES[glass]), Tissue()), tissue) > 0.9


def test_pale_tissue_is_found_by_its_texture(tissue):
    """As in immunohistochemistry: nearly as bright as the glass, hardly coloured."""
    image = draw(tissue, (236, 236, 239), GLASSES["neutral"], noise=0.5, texture=10)
    assert overlap(segment(image, Tissue()), tissue) > 0.9
    assert overlap(segment(image, Tissue(method="hsv")), tissue) < 0.1


@pytest.mark.parametrize("glass", GLASSES)
def test_glass_alone_is_empty_with_every_method(glass):
    for method, noise in zip(METHODS, (8.0, 3.0, 0.0), strict=True):
        image = draw(np.zeros(SHAPE, bool), (0, 0, 0), GLASSES[glass], noise)
        assert not segment(image, Tissue(method=method)).any()


@pytest.mark.parametrize("mpp", [2.0, 16.0])
def test_the_mask_means_the_same_at_any_resolution(tissue, mpp):
    side = tuple(round(n * 8 / mpp) for n in SHAPE[::-1])
    image = cv2.resize(draw(tissue, STAINS["pink (eosin)"], GLASSES["neutral"]), side, interpolation=cv2.INTER_AREA)
    mask = segment(image, Tissue(mpp=mpp)).astype(np.uint8)
    assert mask.shape == image.shape[:2]
    assert overlap(cv2.resize(mask, SHAPE[::-1], interpolation=cv2.INTER_NEAREST) > 0, tissue) > 0.9


def test_the_outline_is_close_to_dark_tissue_in_spite_of_compression(tissue):
    """JPEG blocks at the edge of tissue have a fringe, pale and textured like some tissue."""
    image = draw(tissue, STAINS["deep blue (Giemsa)"], GLASSES["neutral"], noise=0)
    mask = segment(cv2.imdecode(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 90))[1], 1), Tissue())
    near = cv2.dilate(tissue.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert not mask[~near].any() and overlap(mask, tissue) > 0.95


def test_light_that_falls_off_towards_the_edges_is_no_tissue(tissue):
    y, x = np.mgrid[-1 : 1 : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    light = (1 - 0.06 * (x**2 + y**2))[..., None]
    for stained, expected in ((tissue, 0.9), (np.zeros(SHAPE, bool), None)):
        image = (draw(stained, STAINS["pink (eosin)"], GLASSES["neutral"], noise=1) * light).astype(np.uint8)
        mask = segment(image, Tissue())
        assert overlap(mask, stained) > expected if expected else not mask.any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("width", [100, 700])
def test_black_padding_is_no_tissue_however_much_of_it(tissue, method, width):
    image = draw(tissue, STAINS["pink (eosin)"], GLASSES["neutral"])
    padded = cv2.copyMakeBorder(image, 20, 0, 0, width, cv2.BORDER_CONSTANT, value=(5, 3, 4))
    mask = segment(padded, Tissue(method=method))
    assert not mask[:20].any() and not mask[:, SHAPE[1] :].any()
    beside = find_tissue(padded, find_padding(padded, 8.0), 8.0)[25:, SHAPE[1] - 20 : SHAPE[1]]
    assert not beside.any(), "glass beside padding is not darker"
    assert overlap(mask[20:, : SHAPE[1]], tissue) > 0.8


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("glass", GLASSES)
def test_padding_of_any_constant_colour_around_any_glass_is_no_tissue(tissue, glass, padding):
    for stained in (tissue, np.zeros(SHAPE, bool)):
        image = draw(stained, STAINS["brown (DAB)"], GLASSES[glass], noise=2)
        padded = np.full((300, 410, 3), PADDINGS[padding], np.uint8)
        padded[40:-60, 80:-30] = image
        mask = segment(padded, Tissue())
        inside = mask[40:-60, 80:-30]
        assert mask.sum() == inside.sum()
        assert overlap(inside, stained) > 0.9 if stained.any() else not inside.any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("quality", [60, 90])
def test_compressed_padding_is_no_tissue_with_any_method(tissue, method, quality):
    for padding in (255, 251, 128, 32):
        image = np.full((300, 410, 3), padding, np.uint8)
        image[40:-60, 80:-30] = draw(tissue, STAINS["brown (DAB)"], GLASSES["neutral"], noise=1)
        image = cv2.imdecode(cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1], 1)
        mask = segment(image, Tissue(method=method))
        expected = np.pad(tissue, ((40, 60), (80, 30)))
        assert overlap(mask, expected) > 0.85, padding


def test_glass_of_one_colour_is_not_padding_and_tissue_that_fills_its_scan_is_found(tissue):
    clipped = draw(tissue, STAINS["pink (eosin)"], (255, 255, 255), noise=0, texture=30)
    assert not find_padding(clipped, 8.0).any() and overlap(segment(clipped, Tissue()), tissue) > 0.9
    filled = np.pad(clipped[60:140, 70:150], ((40, 60), (80, 30), (0, 0)), constant_values=255)
    assert overlap(segment(filled, Tissue()), np.pad(np.ones((80, 80), bool), ((40, 60), (80, 30)))) > 0.9


def test_large_slides_are_compared_in_strips_and_need_little_memory(tissue, monkeypatch):
    """In one piece, the colours of this slide of 22 x 22 mm take 580 MB."""
    image = cv2.resize(draw(tissue, STAINS["pink (eosin)"], GLASSES["neutral"]), (2800, 2800))
    monkeypatch.setattr(memory, "_shares", None)
    memory.share_memory(1, readers=4)  # the least that a reader gets, 500 MB
    mask = run_in_subprocess(segment, image, Tissue(), timeout=60)
    assert (
        overlap(mask, cv2.resize(tissue.astype(np.uint8), mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0) > 0.9
    )


def test_dark_tissue_pigment_and_black_pen_are_not_padding(tissue):
    image = draw(tissue, (24, 20, 26), GLASSES["neutral"])
    cv2.line(image, (20, 20), (280, 180), (15, 15, 20), 6)
    assert not find_padding(image, 8.0).any() and overlap(segment(image, Tissue()), tissue) > 0.8
    image[60:120, 100:180] = (5, 3, 4)  # a tile that the file lacks, in the middle of the tissue
    padding = find_padding(image, 8.0)
    assert padding[60:120, 100:180].all() and padding.sum() == padding[56:124, 96:184].sum()


def test_fluorescence_beside_padding_is_not_brightfield():
    rng = np.random.default_rng(0)
    image = np.zeros((*SHAPE, 3), np.uint8)
    image[..., 2] = cv2.GaussianBlur(rng.normal(60, 400, SHAPE).astype(np.float32), (0, 0), 3).clip(0, 255)
    for picture in (image, np.pad(image, ((0, 0), (0, 400), (0, 0)))):
        with raises_slide_error("not_brightfield"):
            segment(picture, Tissue())


@pytest.mark.shared
def test_masks_agree_with_outlines_drawn_by_hand(shared, tmp_path):
    for name in ("eas1-ihc", "congored"):
        segment_slide(SlideRecord(name, shared / f"slides/stains/{name}.svs"), tmp_path, Tissue())
    command = [sys.executable, str(shared / "tools/outline_overlap.py"), str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    overlaps = {name: float(value) for name, value in re.findall(r"(\S+): ([\d.]+)$", output, re.MULTILINE)}
    assert len(overlaps) == 2 and min(overlaps.values()) > 0.95


@pytest.mark.shared
@pytest.mark.parametrize("method", METHODS)
def test_glass_is_empty_and_padding_has_no_tiles(shared, tmp_path, method):
    cases, settings = shared / "cases/slides", Tissue(method=method)
    for name in ("glass", "glass_warm"):
        with raises_slide_error("empty", "no tissue found"):
            segment_slide(SlideRecord(name, cases / f"{name}.tif"), tmp_path, settings)
    record = SlideRecord("padded", cases / "dark_padding.tif")
    segment_slide(record, tmp_path, settings)
    assert tile_slide(record, tmp_path, tmp_path, Tiles())["tiles"] in (75, 76)


TINTS = {"warm": (0.97, 0.93, 0.88), "blue": (0.9, 0.95, 1), "yellow": (0.97, 0.92, 0.72), "grey": (0.85, 0.85, 0.85)}


@pytest.mark.shared
@pytest.mark.parametrize("name", ["eas1-ihc", "congored", "her2-cish", "hpylori-giemsa", "eas1-he-a"])
def test_masks_of_real_stains_do_not_depend_on_the_tint_of_the_glass(shared, name):
    with SlideReader(shared / f"slides/stains/{name}.svs") as slide:
        image = slide.overview(8.0)
    mask = segment(image, Tissue())
    for tint in TINTS.values():
        assert overlap(segment((image * np.array(tint)).astype(np.uint8), Tissue()), mask) > 0.95


@pytest.mark.shared
@pytest.mark.parametrize("name", ["congored", "her2-cish", "hpylori-giemsa", "eas1-he-a", "eas1-he-b"])
def test_on_other_stains_than_pale_ones_the_mask_includes_what_saturation_finds(shared, name):
    with SlideReader(shared / f"slides/stains/{name}.svs") as slide:
        image = slide.overview(8.0)
    mask, saturated = segment(image, Tissue()), segment(image, Tissue(method="hsv"))
    assert mask[saturated].mean() > 0.97
