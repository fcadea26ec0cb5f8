"""tiatoolbox itself, in its own environment: `make test-tiatoolbox`."""

import sys

import cv2
import numpy as np
import pytest
import tifffile
import zarr

from roformermil.cohort.slide_table import SlideRecord
from roformermil.config import Tiles, Tissue
from roformermil.errors import WeightsError
from roformermil.runtime.subprocesses import run_in_subprocess
from roformermil.slides.reader import SlideReader
from roformermil.slides.steps import segment_slide, tile_slide
from roformermil.slides.tile_table import read_tile_table
from roformermil.slides.tissue import segment
from tests.factories import raises_slide_error
from tests.tissue_drawing import draw_tissue

toolbox = pytest.mark.tiatoolbox


@pytest.fixture(scope="module")
def pixels():
    return draw_tissue(np.random.default_rng(5), 1500, 1200)


def shrink(pixels, factor):
    return cv2.resize(pixels, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def overlap_of_masks(image):
    """Intersection over union of the masks of `hsv` and `morphological`."""
    one, two = segment(image, Tissue(method="hsv")), segment(image, Tissue(method="morphological"))
    return (one & two).sum() / (one | two).sum()


def write_ome_tiff(path, pixels, mpp):
    """A pyramid with its coarser levels in sub-IFDs, as in OME-TIFF."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        options = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib"}
        unit = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        metadata = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp, **unit}
        tiff.write(pixels, subifds=2, metadata=metadata, **options)
        for factor in (2, 4):
            tiff.write(shrink(pixels, factor), subfiletype=1, **options)


def write_ome_zarr(path, pixels, mpp):
    """OME-Zarr 0.4: axes c, y, x, two levels, its scale in the multiscales metadata."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    levels = []
    for k, factor in enumerate((1, 2)):
        group.create_array(str(k), data=np.moveaxis(shrink(pixels, factor), 2, 0).copy(), chunks=(3, 256, 256))
        scale = {"type": "scale", "scale": [1, mpp * factor, mpp * factor]}
        levels.append({"path": str(k), "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}] + [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "name": "slide", "axes": axes, "datasets": levels}]
    window = {"start": 0, "end": 255, "min": 0, "max": 255}
    display = {"active": True, "family": "linear", "coefficient": 1.0, "inverted": False, "window": window}
    channels = [{"color": colour, "label": colour, **display} for colour in ("FF0000", "00FF00", "0000FF")]
    rdefs = {"defaultT": 0, "defaultZ": 0, "model": "color"}
    group.attrs["omero"] = {"name": "slide", "id": 1, "version": "0.4", "rdefs": rdefs, "channels": channels}


def write_jp2(path, pixels, mpp):
    """JPEG 2000, with its resolution in the capture resolution box (pixels per metre)."""
    glymur = pytest.importorskip("glymur")
    if glymur.version.openjpeg_version == "0.0.0":
        pytest.skip("needs OpenJPEG's library (Debian: libopenjp2-7)")
    glymur.Jp2k(str(path), data=pixels, capture_resolution=[1e6 / mpp, 1e6 / mpp], numres=4)


WRITERS = {"slide.ome.tif": write_ome_tiff, "slide.zarr": write_ome_zarr, "slide.jp2": write_jp2}


@toolbox
@pytest.mark.parametrize("name", WRITERS)
def test_formats_that_openslide_lacks_are_segmented_and_tiled(pixels, tmp_path, name):
    WRITERS[name](tmp_path / name, pixels, 0.5)
    record = SlideRecord("one", tmp_path / name, sheet_mpp=0.5 if name.endswith("jp2") else None)
    fields = segment_slide(record, tmp_path, Tissue())
    stated = [fields[key] for key in ("width", "height", "reader", "mpp")]
    assert stated == [1500, 1200, "tiatoolbox", pytest.approx(0.5)]
    tiles = tile_slide(record, tmp_path, tmp_path, Tiles(tile_px=128))["tiles"]
    assert tiles == len(read_tile_table(tmp_path / "one.npz").grid)
    with SlideReader(tmp_path / name, 0.5) as slide:
        read = slide.read(300, 200, 64, 48).astype(int)
    assert read.shape == (48, 64, 3) and np.abs(read - pixels[200:248, 300:364]).mean() < 3  # JPEG 2000 is lossy


@toolbox
def test_a_file_with_such_a_suffix_but_other_content_is_unreadable(tmp_path):
    (tmp_path / "no.jp2").write_bytes(b"no image")
    with raises_slide_error("unreadable"):
        SlideReader(tmp_path / "no.jp2")


def is_imported(module):
    return module in sys.modules


@toolbox
def test_subprocesses_start_with_tiatoolbox_imported():
    assert run_in_subprocess(is_imported, "roformermil.slides.toolbox", timeout=120)


@toolbox
def test_the_morphological_mask_overlaps_with_that_of_hsv_and_grandqcs_has_the_images_size(pixels, tmp_path):
    """GrandQC with random weights, as the published ones need a download: tests the code, not the mask's quality."""
    import torch
    from tiatoolbox.models.architecture.grandqc import GrandQCModel

    assert overlap_of_masks(shrink(pixels, 16)) > 0.7  # at 8 um/px
    torch.manual_seed(0)
    torch.save(GrandQCModel(num_output_channels=2).state_dict(), tmp_path / "net.pth")
    image = shrink(pixels, 2)  # larger than one window
    settings = Tissue(method="grandqc", weights=tmp_path / "net.pth", min_area=0, min_hole=0)
    mask = segment(image, settings)
    assert mask.shape == image.shape[:2] and np.array_equal(mask, segment(image, settings))
    with pytest.raises(WeightsError, match=r"tissue\.weights"):
        segment(image, Tissue(method="grandqc", weights=tmp_path / "none.pth"))


@toolbox
@pytest.mark.shared
def test_masks_overlap_on_real_slides(atlas):
    """On six atlas slides; benchmarks/tissue.py makes the table of all."""
    overlaps = []
    for path in atlas[:6]:
        with SlideReader(path, 0.5) as slide:
            overlaps.append(overlap_of_masks(slide.overview(8.0)))
    assert np.median(overlaps) > 0.7


def test_without_tiatoolbox_its_formats_and_methods_need_it(pixels, tmp_path, monkeypatch):
    write_ome_tiff(tmp_path / "slide.ome.tif", pixels, 0.5)
    monkeypatch.setattr("roformermil.slides.backends.find_spec", lambda _: None)
    with raises_slide_error("needs_tiatoolbox", "make tiatoolbox"):
        SlideReader(tmp_path / "slide.ome.tif")
    monkeypatch.setitem(sys.modules, "tiatoolbox", None)
    monkeypatch.delitem(sys.modules, "roformermil.slides.toolbox", raising=False)
    monkeypatch.delitem(sys.modules, "tiatoolbox.models.architecture", raising=False)
    for method in ("morphological", "grandqc"):
        with raises_slide_error("needs_tiatoolbox"):
            segment(cv2.resize(pixels, (94, 75)), Tissue(method=method))
