import numpy as np
import openslide
import pytest
import tifffile

from roformermil.errors import SlideError
from roformermil.slides.reader import SlideReader
from roformermil.slides.scale import Scale, find_scale


@pytest.mark.parametrize(
    ("properties", "given", "expected"),
    [
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25"}, 0.5, Scale(0.5, "sheet")),
        ({"openslide.mpp-x": "0.2526", "openslide.mpp-y": "0.2526"}, None, Scale(0.2526, "vendor")),
        ({"tiff.XResolution": "20000", "tiff.YResolution": "20000", "tiff.ResolutionUnit": "centimeter"}, None,
         Scale(0.5, "tiff")),
        ({"tiff.XResolution": "72", "tiff.YResolution": "72", "tiff.ResolutionUnit": "inch",
          "openslide.objective-power": "20"}, None, Scale(0.5, "objective")),
        ({"openslide.mpp-x": "", "openslide.objective-power": "40"}, None, Scale(0.25, "objective")),
    ],
)  # fmt: skip
def test_scale_is_found_in_order(properties, given, expected):
    assert find_scale(properties, given) == expected


@pytest.mark.parametrize(
    ("properties", "given", "reason"),
    [
        ({}, None, "no_mpp"),
        ({"openslide.mpp-x": "1e6", "openslide.mpp-y": "1e6"}, None, "absurd_mpp"),
        ({"openslide.mpp-x": "0", "openslide.mpp-y": "0", "openslide.objective-power": "40"}, None, "absurd_mpp"),
        ({"openslide.mpp-x": "nan", "openslide.mpp-y": "nan"}, None, "absurd_mpp"),
        ({"openslide.objective-power": "0"}, None, "absurd_mpp"),
        ({"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}, 1e6, "absurd_mpp"),
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"}, None, "anisotropic"),
        ({"tiff.XResolution": "20000", "tiff.YResolution": "40000", "tiff.ResolutionUnit": "centimeter"}, None,
         "anisotropic"),
    ],
)  # fmt: skip
def test_a_scale_that_cannot_be_is_named_and_never_guessed(properties, given, reason):
    with pytest.raises(SlideError, match="slide sheet's `mpp` column") as error:
        find_scale(properties, given)
    assert error.value.status == reason


def test_the_files_own_tags_give_the_scale(slide):
    with SlideReader(slide) as reader:
        assert reader.size == (1500, 1200)
        assert reader.scale.mpp == pytest.approx(0.5)
        assert reader.downsamples == pytest.approx((1, 2, 4))


@pytest.mark.parametrize(("mpp", "level"), [(0.3, 0), (0.5, 0), (0.99, 0), (1.0, 1), (1.9, 1), (2.0, 2), (50, 2)])
def test_a_level_is_never_coarser_than_asked(slide, mpp, level):
    with SlideReader(slide) as reader:
        assert reader.level_for(mpp) == level


def test_pixels_are_openslides(slide):
    with SlideReader(slide) as reader, openslide.OpenSlide(slide) as plain:
        expected = np.asarray(plain.read_region((300, 200), 1, (64, 48)).convert("RGB"))
        assert np.array_equal(reader.read(300, 200, 64, 48, level=1), expected)


@pytest.mark.parametrize("block", [4096, 200])
def test_overview_covers_the_slide_whatever_the_blocks(slide, block, monkeypatch):
    monkeypatch.setattr("roformermil.slides.reader.BLOCK", block)
    with SlideReader(slide) as reader:
        image = reader.overview(8.0)
    with openslide.OpenSlide(slide) as plain:
        expected = np.asarray(plain.get_thumbnail((94, 75)), float)
    assert image.shape == (75, 94, 3)
    assert np.abs(image - expected).mean() < 6  # another filter's view of the same slide


@pytest.mark.parametrize(
    ("name", "reason"),
    [("cut.svs", "unreadable"), ("empty.svs", "empty_file"), ("text.svs", "unreadable"), ("none.svs", "missing")],
)
def test_files_that_are_no_slides_have_named_reasons(broken, name, reason):
    with pytest.raises(SlideError, match=name) as error:
        SlideReader(broken / name)
    assert error.value.status == reason


def test_damaged_pixels_are_read_failed(broken):
    with SlideReader(broken / "damaged.tif") as reader:
        reader.overview(8.0)
        with pytest.raises(SlideError, match="reading at") as error:
            reader.read(0, 0, *reader.size)
    assert error.value.status == "read_failed"


def test_sizes_that_cannot_be_are_refused_before_anything_is_read(slide, tmp_path):
    """The directory of a real file says that it is four million pixels wide."""
    data = bytearray(slide.read_bytes())
    with tifffile.TiffFile(slide) as tiff:
        tag = tiff.pages[0].tags["ImageWidth"]
    data[tag.valueoffset : tag.valueoffset + 4] = (4_000_000).to_bytes(4, "little")
    (tmp_path / "wide.tif").write_bytes(data)
    with pytest.raises(SlideError) as error:
        SlideReader(tmp_path / "wide.tif")
    assert error.value.status in ("absurd_size", "unreadable")


def test_a_scale_that_makes_a_mask_of_gigapixels_is_named(slide):
    with SlideReader(slide, mpp=100.0) as reader, pytest.raises(SlideError, match="is its resolution right") as error:
        reader.overview(0.5)
    assert error.value.status == "absurd_size"
