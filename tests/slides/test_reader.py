import numpy as np
import openslide
import pytest
import tifffile

from roformermil.config import Tissue
from roformermil.errors import SlideError
from roformermil.slides.reader import SlideReader
from roformermil.slides.scale import Scale, find_scale
from roformermil.slides.tissue import segment
from tests.factories import raises_slide_error


def mpp(x, y=None):
    return {"openslide.mpp-x": x, "openslide.mpp-y": y or x}


def tiff(x, y, unit):
    return {"tiff.XResolution": x, "tiff.YResolution": y, "tiff.ResolutionUnit": unit}


def generic_tiff(pixels_per_unit, unit):
    """As OpenSlide 4 states it: the resolution as its own mpp too."""
    um = {"inch": 25400, "centimeter": 10000}[unit] / float(pixels_per_unit)
    return mpp(str(um)) | tiff(pixels_per_unit, pixels_per_unit, unit) | {"openslide.vendor": "generic-tiff"}


POWER = "openslide.objective-power"
APERIO = {"openslide.vendor": "aperio"}
UNUSABLE = {"cut.svs": "unreadable", "empty.svs": "empty_file", "text.svs": "unreadable", "none.svs": "missing"}
SOURCES = [
    (mpp("0.25"), 0.26, Scale(0.26, "sheet")),
    (mpp("0.2526") | tiff("20000", "20000", "centimeter"), None, Scale(0.2526, "vendor")),
    (tiff("20000", "20000", "centimeter") | {POWER: "40"}, None, Scale(0.5, "tiff")),
    (tiff("72", "72", "inch") | {POWER: "20"}, None, Scale(0.5, "objective")),
    (generic_tiff("20000", "centimeter"), None, Scale(0.5, "tiff")),
    (generic_tiff("300", "inch") | {POWER: "20"}, None, Scale(0.5, "objective")),
    (generic_tiff("72", "inch"), 0.25, Scale(0.25, "sheet")),
    (mpp("8") | APERIO, None, Scale(8.0, "vendor")),
    (mpp("", "0.25") | {POWER: "40"}, None, Scale(0.25, "objective")),
]
IMPOSSIBLE = [
    (
        "no_mpp",
        [{}, *(generic_tiff(dpi, "inch") for dpi in ("72", "96", "300", "600")), generic_tiff("28.35", "centimeter")],
    ),
    ("absurd_mpp", [mpp("1e6"), mpp("0") | {POWER: "40"}, mpp("nan"), {POWER: "0"}, (mpp("0.5"), 1e6)]),
    ("anisotropic", [mpp("0.25", "0.5"), tiff("20000", "40000", "centimeter")]),
]


@pytest.mark.parametrize(("properties", "sheet_mpp", "expected"), SOURCES)
def test_the_first_source_that_states_a_resolution_counts(properties, sheet_mpp, expected):
    assert find_scale(properties, sheet_mpp) == expected


@pytest.mark.parametrize(("status", "stated"), IMPOSSIBLE)
def test_an_impossible_resolution_is_named_and_never_guessed(status, stated):
    for arguments in stated:
        with raises_slide_error(status, r"slide sheet: column mpp"):
            find_scale(*(arguments if isinstance(arguments, tuple) else (arguments,)))


@pytest.mark.parametrize(
    ("given", "properties", "warning"),
    [
        (2.0, mpp("0.499"), "the slide sheet says 2 um/px, the file 0.499 (vendor): "),
        (0.25, tiff("20000", "20000", "centimeter"), "0.5 (tiff)"),
        (0.54, mpp("0.499"), ""),
        (2.0, {POWER: "20"}, ""),
        (2.0, {}, ""),
    ],
)
def test_a_slide_sheet_that_contradicts_the_file_is_a_warning(given, properties, warning):
    scale = find_scale(properties, given)
    assert (scale.mpp, scale.source) == (given, "sheet")
    assert warning in scale.warning and bool(scale.warning) == bool(warning)


@pytest.mark.parametrize("dpi", [72, 96, 300, None])
def test_the_resolution_of_a_screen_or_printer_is_none(tmp_path, dpi):
    options = {"resolution": (dpi, dpi), "resolutionunit": "INCH"} if dpi else {}
    pixels = np.full((300, 300, 3), (190, 90, 160), np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", pixels, tile=(128, 128), photometric="rgb", metadata=None, **options)
    with raises_slide_error("no_mpp", r"s.tif: the file does not state its resolution; give .*mpp"):
        SlideReader(tmp_path / "s.tif")
    with SlideReader(tmp_path / "s.tif", 0.5) as reader:
        assert reader.scale == Scale(0.5, "sheet")


def write_grey(path, image, **options):
    options = {"tile": (128, 128), "resolution": (20000, 20000), "resolutionunit": "CENTIMETER"} | options
    tifffile.imwrite(path, image, metadata=None, **options)
    return path


@pytest.mark.parametrize(
    "kind", ["8 bits", "16 bits", "12 of 16 bits", "inverted", "RGB", "rounded", "scale bar", "JPEG"]
)
def test_greyscale_slides_are_not_brightfield(slide, tmp_path, kind):
    with SlideReader(slide) as reader:
        grey = reader.read(0, 0, *reader.size).mean(axis=2).astype(np.uint8)
    with_bar, rgb = np.repeat(grey[..., None], 3, axis=2), {"photometric": "rgb"}
    with_bar[1150:1160, 100:300] = (220, 60, 60)
    image, options = {
        "8 bits": (grey, {}),
        "16 bits": (grey * np.uint16(257), {}),
        "12 of 16 bits": (grey * np.uint16(16), {}),
        "inverted": (grey, {"photometric": "miniswhite"}),
        "RGB": (np.repeat(grey[..., None], 3, axis=2), rgb),
        "rounded": (grey[..., None] // 2 + np.random.default_rng(0).integers(0, 3, (*grey.shape, 3), np.uint8), rgb),
        "scale bar": (with_bar, rgb),
        "JPEG": (grey, {"compression": "jpeg"}),
    }[kind]
    path = write_grey(tmp_path / "s.tif", image, **options)
    with SlideReader(path) as reader, raises_slide_error("not_brightfield", "greyscale|dark"):
        segment(reader.overview(8.0), Tissue(method="hsv"))


def test_a_little_tissue_beside_large_grey_shadows_is_not_called_greyscale(tmp_path):
    image = np.full((900, 1200, 3), 240, np.uint8)
    image[:, :400] = 150
    image[400:480, 700:780] = (224, 196, 214)  # 0.6% of the slide
    with SlideReader(write_grey(tmp_path / "s.tif", image, photometric="rgb")) as reader:
        assert reader.overview(8.0).max() >= 240


@pytest.mark.parametrize("padding", [0, 255])
def test_glass_and_padding_without_colour_are_not_called_greyscale(tmp_path, padding):
    image = np.full((900, 1200), 240, np.uint8)
    image[:, 1000:] = padding
    with SlideReader(write_grey(tmp_path / "s.tif", image)) as reader:
        assert reader.overview(8.0).max() >= 240


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
