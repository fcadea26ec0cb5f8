import numpy as np
import openslide

from roformermil.cohort.slide_sheet import read_slide_sheet
from roformermil.cohort.synthetic import CLASSES, MAX_SIDE, MIN_SIDE, draw_tissue, write_demo_slides
from roformermil.config import Tissue
from roformermil.slides.reader import SlideReader
from roformermil.slides.tissue import segment


def test_slides_are_real_pyramids_with_their_own_scale(tmp_path):
    sheet = write_demo_slides(tmp_path, slides=4, seed=7)
    slides = read_slide_sheet(sheet, tmp_path, list(CLASSES))
    assert [s.label for s in slides] == ["separate"] * 2 + ["mixed"] * 2 and len({s.patient_id for s in slides}) == 2
    for slide in slides:
        with SlideReader(slide.path) as reader:
            assert (reader.scale.mpp, len(reader.downsamples)) == (0.5, 3)
            assert all(MIN_SIDE <= side <= MAX_SIDE for side in reader.size)
            assert 0.2 < segment(reader.overview(8.0), Tissue()).mean() < 0.95
        with openslide.OpenSlide(slide.path) as plain:
            assert plain.properties["openslide.level[0].tile-width"] == "256"
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.tif")}
    write_demo_slides(tmp_path, slides=4, seed=7)
    assert written == {path: path.stat().st_mtime_ns for path in written}, "existing slides are kept"
    write_demo_slides(tmp_path / "again", slides=4, seed=7)
    assert all((tmp_path / "again" / path.name).read_bytes() == path.read_bytes() for path in written)


def test_classes_do_not_differ_in_colour():
    """The tissue's mean colour differs between the classes by less than 4 of 255, too little to separate them."""
    means = []
    for label in CLASSES:
        images = [draw_tissue(np.random.default_rng((9, k)), 2000, 2000, label) for k in range(4)]
        means.append(np.mean([image[image.min(axis=2) < 225].mean(axis=0) for image in images], axis=0))
    assert np.abs(np.subtract(*means)).max() < 4
