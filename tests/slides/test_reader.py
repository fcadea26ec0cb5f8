import numpy as np
import openslide
import pytest
import tifffile

from roformermil.errors import SlideError
from roformermil.slides.reader import SlideReader
from roformermil.slides.scale import Scale, find_scale
from tests.factories import raises_slide_error


def mpp(x, y=None):
    return {"openslide.mpp-x": x, "openslide.mpp-y": y or x}


def tiff(x, y, unit):
    return {"tiff.XResolution": x, "tiff.YResolution": y, "tiff.ResolutionUnit": unit}


POWER = "openslide.objective-power"
UNUSABLE = {"cut.svs": "unreadable", "empty.svs": "empty_file", "text.svs": "unreadable", "none.svs": "missing"}
SOURCES = [
    (mpp("0.25"), 0.5, Scale(0.5, "sheet")),
    (mpp("0.2526") | tiff("20000", "20000", "centimeter"), None, Scale(0.2526, "vendor")),
    (tiff("20000", "20000", "centimeter") | {POWER: "40"}, None, Scale(0.5, "tiff")),
    (tiff("72", "72", "inch") | {POWER: "20"}, None, Scale(0.5, "objective")),
    (mpp("", "0.25") | {POWER: "40"}, None, Scale(0.25, "objective")),
]
IMPOSSIBLE = [
    ("no_mpp", [{}]),
    ("absurd_mpp", [mpp("1e6"), mpp("0") | {POWER: "40"}, mpp("nan"), {POWER: "0"}, (mpp("0.5"), 1e6)]),
    ("anisotropic", [mpp("0.25", "0.5"), tiff("20000", "40000", "centimeter")]),
]


@pytest.mark.parametrize(("properties", "sheet_mpp", "expected"), SOURCES)
def test_the_first_source_that_states_a_resolution_counts(properties, sheet_mpp, expected):
    assert find_scale(properties, sheet_mpp) == expected


@pytest.mark.parametrize(("status", "stated"), IMPOSSIBLE)
def test_an_impossible_resolution_is_named_and_never_guessed(status, stated):
    for arguments in stated:
        with raises_slide_error(status, r"slide sheet: column mpp; predict: --mpp"):
            find_scale(*(arguments if isinstance(arguments, tuple) else (arguments,)))


def test_scale_and_pixels_are_those_of_the_file_and_a_level_is_never_coarser_than_asked(slide):
    with SlideReader(slide) as reader, openslide.OpenSlide(slide) as plain:
        assert (reader.size, reader.scale.mpp) == ((1500, 1200), pytest.approx(0.5))
        assert reader.downsamples == pytest.approx((1, 2, 4))
        levels = [reader.level_for(mpp) for mpp in (0.3, 0.5, 0.99, 1.0, 1.9, 2.0, 50)]
        assert levels == [0, 0, 0, 1, 1, 2, 2]
        expected = np.asarray(plain.read_region((300, 200), 1, (64, 48)).convert("RGB"))
        assert np.array_equal(reader.read(300, 200, 64, 48, level=1), expected)


@pytest.mark.parametrize("block", [4096, 200])
def test_overview_covers_the_slide_whatever_the_blocks(slide, block, monkeypatch):
    monkeypatch.setattr("roformermil.slides.reader.BLOCK", block)
    with SlideReader(slide) as reader, openslide.OpenSlide(slide) as plain:
        image, expected = reader.overview(8.0), np.asarray(plain.get_thumbnail((94, 75)), float)
    assert image.shape == (75, 94, 3)
    assert np.abs(image - expected).mean() < 6  # which is resized by another filter


@pytest.mark.parametrize(("name", "status"), UNUSABLE.items())
def test_unusable_files_have_a_status_and_are_named(broken, name, status):
    with raises_slide_error(status, name):
        SlideReader(broken / name)


def test_damaged_pixels_are_read_failed(broken):
    with SlideReader(broken / "damaged.tif") as reader:
        reader.overview(8.0)
        with raises_slide_error("read_failed", "cannot be read"):
            reader.read(0, 0, *reader.size)


def test_impossible_sizes_are_refused_before_pixels_are_read(slide, tmp_path):
    """The TIFF directory of a real file states a width of four million pixels."""
    data = bytearray(slide.read_bytes())
    with tifffile.TiffFile(slide) as tiff:
        tag = tiff.pages[0].tags["ImageWidth"]
    data[tag.valueoffset : tag.valueoffset + 4] = (4_000_000).to_bytes(4, "little")
    (tmp_path / "wide.tif").write_bytes(data)
    with pytest.raises(SlideError) as error:
        SlideReader(tmp_path / "wide.tif")
    assert error.value.status in ("absurd_size", "unreadable")


def test_a_resolution_that_makes_an_overview_of_gigapixels_is_named(slide):
    with SlideReader(slide, mpp=100.0) as reader, raises_slide_error("absurd_size", "check the slide's resolution"):
        reader.overview(0.5)
