"""What `predict` says about slides that its model cannot use, in words of its own options."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from roformermil.cohort.slide_table import SlideRecord
from roformermil.cohort.synthetic import write_pyramid
from roformermil.config import Tiles, Tissue
from roformermil.deployment.remedies import explain_to_predict
from roformermil.errors import SlideError
from roformermil.slides.steps import inspect_slide
from tests.tissue_drawing import draw_tissue

TILES = Tiles(tile_px=256, target_mpp=0.5)
OF_TRAINING = "slide sheet: column|exclude|snakemake|before training|tiles\\.|tissue\\."


def raised_by(path, mpp=None, tiles=TILES):
    """The message of `predict`, and that of training, for a slide that cannot be used."""
    with pytest.raises(SlideError) as error:
        list(inspect_slide(SlideRecord("s", path, mpp), Tissue(), tiles))
    text = explain_to_predict(error.value, tiles, Path("out/tissue"))
    assert text.startswith(str(path)) or "no t" in text
    assert not re.search(OF_TRAINING, text), text
    return text, str(error.value)


@pytest.fixture
def slide(tmp_path):
    return (
        write_pyramid(tmp_path / "slide.tif", draw_tissue(np.random.default_rng(0), 700, 600)) or tmp_path / "slide.tif"
    )


def test_a_slide_without_a_resolution_is_given_one_by_an_option(tmp_path):
    tifffile.imwrite(tmp_path / "mute.tif", np.full((512, 512, 3), 240, np.uint8), tile=(256, 256))
    text, in_training = raised_by(tmp_path / "mute.tif")
    assert text.endswith("give it in um/px with --mpp, or in the column mpp of a slide sheet")
    assert in_training.endswith("give the resolution in um/px (slide sheet: column mpp)")
    text, _ = raised_by(tmp_path / "mute.tif", mpp=500)
    assert "500 um/px, as given (--mpp, or column mpp of the slide sheet)" in text and "give the right one" in text


def test_a_model_trained_at_20x_cannot_take_a_coarser_slide(slide):
    text, in_training = raised_by(slide, mpp=1.0)
    assert "was trained at 0.5 um/px (about 20x) and cannot take this slide" in text or "the slide sheet says" in text
    text, in_training = raised_by(slide, tiles=Tiles(target_mpp=0.25))
    assert text.endswith(
        "the finest level has 0.5 um/px, but tiles need 0.25; this model was trained at 0.25 um/px (about 40x) and "
        "cannot take this slide; scan or export it at that or finer"
    )
    assert "raise tiles.tolerance" in in_training


def test_a_slide_smaller_than_a_tile(slide):
    assert "this model's tiles are 2048 px at 0.5 um/px" in raised_by(slide, tiles=Tiles(tile_px=2048))[0]


@pytest.mark.parametrize(("tissue_px", "problem"), [(300, "no tile is at least 90% tissue"), (0, "no tissue found")])
def test_a_slide_with_little_or_no_tissue(tmp_path, tissue_px, problem):
    picture = np.full((700, 600, 3), 240, np.uint8)
    noise = np.random.default_rng(0).normal((165, 85, 135), 12, (tissue_px, tissue_px, 3)).clip(0, 255)
    picture[100 : 100 + tissue_px, 100 : 100 + tissue_px] = noise
    write_pyramid(tmp_path / "pale.tif", picture)
    text, _ = raised_by(tmp_path / "pale.tif", tiles=Tiles(tile_px=512, min_tissue=0.9))
    outlines = Path("out/tissue").absolute()
    assert text == (
        f"{problem}; look at its outline in {outlines}; for other settings of this slide, give a slide sheet with the column "
        "tissue"
    )


def test_a_slide_that_is_no_brightfield_image(tmp_path):
    grey = cv2.cvtColor(draw_tissue(np.random.default_rng(0), 700, 600), cv2.COLOR_RGB2GRAY)
    write_pyramid(tmp_path / "grey.tif", np.repeat(grey[..., None], 3, axis=2))
    assert raised_by(tmp_path / "grey.tif")[0].endswith("can be segmented; this model cannot take this slide")


def test_other_errors_say_what_they_say_in_training(tmp_path):
    assert (
        explain_to_predict(SlideError("unreadable", "x.svs: a zip archive"), TILES, tmp_path) == "x.svs: a zip archive"
    )
