"""Files that are no slides, or not of a kind that can be read, are named for what they are, whatever their suffix."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from roformermil.slides.reader import SlideReader
from tests.factories import raises_slide_error

VIPS = r"vips tiffsave IN OUT.tif --tile --pyramid"
PIXELS = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)


def picture(kind):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, kind)
    return buffer.getvalue()


def archive(kind):
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("slide.svs", b"II*\0")
    else:
        with tarfile.open(fileobj=buffer, mode="w") as file:
            file.addfile(tarfile.TarInfo("slide.svs"))
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 1938955\n"
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
FILES = {  # name: content, message
    "pointer.svs": (POINTER, "Git LFS pointer.*git lfs pull"),
    "annex.svs": (b"/annex/objects/SHA256E-s1938955--4d7a.svs\n", "git-annex pointer.*git annex get"),
    "page.svs": (
        b"\n\n<!DOCTYPE html><html><title>Log in</title>",
        "HTML page.*download it again.*log in.*Log in</title>",
    ),
    "page.jp2": (b"\xef\xbb\xbf<!-- f\xfcr --><HTML lang='de'>", "HTML page"),
    "page.ndpi": ("<html><body>Größe</body>".encode("utf-16"), "HTML page"),
    "denied.svs": (DENIED, "XML document.*download it again.*AccessDenied"),
    "denied.ome.tif": (b'{"message": "Not found"}', "JSON document.*Not found"),
    "note.svs": (b"see the other disk\n", "text file.*see the other disk"),
    "photo.svs": (picture("JPEG"), f"JPEG image.*scanner's own file.*{VIPS}"),
    "photo.tif": (picture("PNG"), f"PNG image.*{VIPS}.*mpp"),
    "photo.ndpi": (picture("BMP"), f"BMP image.*{VIPS}"),
    "photo.mrxs": (picture("GIF"), "in the folder photo, which is not beside it"),
    "photo2.svs": (picture("WEBP"), f"WebP image.*{VIPS}"),
    "photo3.svs": (picture("JPEG2000"), f"JPEG 2000 image: rename it to .*jp2.*{VIPS}"),
    "slides.svs": (archive("zip"), "zip archive: unzip it"),
    "packed.svs": (gzip.compress(b"II*\0", mtime=0), "gzip archive: gunzip it"),
    "packed.tif": (lzma.compress(b"II*\0"), "xz archive.*xz -d"),
    "packed.scn": (bz2.compress(b"II*\0"), "bzip2 archive"),
    "packed.bif": (archive("tar"), "tar archive.*tar -xf"),
    "paper.svs": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF document"),
    "features.svs": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 file.*imported"),
    "zeros.svs": (bytes(5000), "zeros only.*copy it again"),
    "noise.svs": (PIXELS.tobytes(), "does not recognise this format; if the file was cut short, copy it again"),
}
COMPRESSIONS = {"jpeg2000": "JPEG 2000", "jpegxl": "JPEG XL", "webp": "WebP", "lzma": "LZMA"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_slide_is_named_for_what_it_is(tmp_path, name):
    content, message = FILES[name]
    (tmp_path / name).write_bytes(content)
    with raises_slide_error("unreadable", rf"(?s){name}: .*{message}"):
        SlideReader(tmp_path / name)


@pytest.mark.parametrize("tile", [(64, 64), None])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_unsupported_compression_is_named(tmp_path, compression, tile):
    options = {"tile": tile} if tile else {"rowsperstrip": 32}
    tifffile.imwrite(tmp_path / "s.tif", PIXELS, photometric="rgb", compression=compression, metadata=None, **options)
    with raises_slide_error("unreadable", f"TIFFs with {COMPRESSIONS[compression]} compression.*{VIPS}"):
        SlideReader(tmp_path / "s.tif")


@pytest.mark.parametrize(("is_bigtiff", "byteorder"), [(False, "<"), (False, ">"), (True, "<")])
def test_a_tiff_without_tiles_or_without_its_end_is_named(tmp_path, is_bigtiff, byteorder):
    options = {"photometric": "rgb", "metadata": None, "bigtiff": is_bigtiff, "byteorder": byteorder}
    tifffile.imwrite(tmp_path / "strips.svs", PIXELS, **options)
    with raises_slide_error("unreadable", f"not tiled.*strips.*{VIPS}"):
        SlideReader(tmp_path / "strips.svs")
    (tmp_path / "cut.svs").write_bytes((tmp_path / "strips.svs").read_bytes()[:50_000])
    with raises_slide_error("unreadable", "cut short, at 50000 bytes: copy it again"):
        SlideReader(tmp_path / "cut.svs")


def test_pixels_that_cannot_be_decoded_are_told_with_their_compression(tmp_path):
    """33005 is JPEG 2000 as Aperio writes it: the file opens, its tiles are something else."""
    path = tmp_path / "s.svs"
    tifffile.imwrite(
        path, PIXELS, tile=(128, 128), photometric="rgb", metadata=None, description="Aperio Image|MPP = 0.5"
    )
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].tags["Compression"].valueoffset
    data = bytearray(path.read_bytes())
    data[at : at + 2] = (33005).to_bytes(2, "little")
    path.write_bytes(data)
    with SlideReader(path) as slide, raises_slide_error("read_failed", rf"JPEG 2000 compression.*copy.*again.*{VIPS}"):
        slide.read(0, 0, 10, 10)


@pytest.mark.parametrize("dtype", [np.float32, np.uint32])
def test_pixels_of_other_depths_are_not_brightfield(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "s.tif", PIXELS[..., 0].astype(dtype), tile=(64, 64), metadata=None)
    with SlideReader(tmp_path / "s.tif", 0.5) as slide, raises_slide_error("not_brightfield", "32 bits, not 8"):
        slide.overview(8.0)
