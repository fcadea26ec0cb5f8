"""What a file that does not open as a slide is, and what to do about it."""

from pathlib import Path

from roformermil.errors import SlideError, Status
from roformermil.slides.tiff import read_directories

HEAD = 1024  # bytes that are looked at
CONVERT = "convert it with libvips: vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg --bigtiff"
SCANNERS_FILE = f"give the scanner's own file; if this image is the whole slide, {CONVERT}, and state its mpp"
AGAIN = "download it again; the server may want you to log in"
SIGNATURES: dict[bytes, tuple[str, str]] = {  # how a file starts: what it is, what to do
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
    b"/annex/objects/": ("a git-annex pointer, not the file itself", "fetch it: git annex get"),
    b"PK\x03\x04": ("a zip archive", "unzip it"),
    b"PK\x05\x06": ("an empty zip archive", "download it again"),
    b"\x1f\x8b": ("a gzip archive", "gunzip it, or tar -xzf if it is a tar archive"),
    b"BZh": ("a bzip2 archive", "bunzip2 it"),
    b"\xfd7zXZ\0": ("an xz archive", "unpack it with xz -d"),
    b"\x28\xb5\x2f\xfd": ("a Zstandard archive", "unpack it with zstd -d"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "unpack it with 7z x"),
    b"Rar!": ("a RAR archive", "unpack it with unrar x"),
    b"%PDF": ("a PDF document", "give the scanner's own file"),
    b"\x89HDF": ("an HDF5 file", "for features of another pipeline set encoder: {name: imported}"),
    b'<DataObject ObjectType="DPUfsImport"': ("a Philips iSyntax file", "export it as TIFF from the viewer"),
    b"ZISRAWFILE": ("a Zeiss CZI file that OpenSlide cannot read", "export it from ZEN as a tiled pyramidal TIFF"),
}
IMAGES: dict[bytes, str] = {
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89PNG": "a PNG image",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"WEBP": "a WebP image",  # this and the following at their fifth or ninth byte
    b"ftypavif": "an AVIF image",
    b"ftypheic": "a HEIC image",
    b"ftypmif1": "a HEIC image",
}
JPEG_2000 = (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")
TEXT_FORMATS = (".vms", ".vmu")  # slides whose index is a text file
UNSUPPORTED = {  # compressions by TIFF's numbers; OpenSlide reads JPEG 2000 in Aperio's files only
    6: "old-style JPEG",
    22610: "JPEG XR",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    33007: "JPEG",
    34661: "JBIG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34927: "WebP",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
COMPRESSIONS = UNSUPPORTED | {
    5: "LZW",
    7: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    50000: "Zstandard",
}
SHOWN = 80  # characters of a text file
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # of bytes that are no UTF-8
MOST_UNREADABLE = 0.05  # of a text file's characters, in another encoding


def explain_unopened(path: Path, is_for_toolbox: bool) -> str | None:
    """What the file is and what to do, for one that OpenSlide does not open; None where its bytes do not tell.

    is_for_toolbox: by its name the file is for tiatoolbox, which reads JPEG 2000 and any TIFF. Raises OSError.
    """
    head = _read_head(path)
    if known := _explain_signature(head):
        return f"this is {known}"
    if path.suffix.lower() not in TEXT_FORMATS and (text := _explain_text(head)):
        return text
    if not head.strip(b"\0"):
        return "this file starts with zeros only, as an unfinished copy does: copy it again"
    if is_for_toolbox:
        return None
    if head.startswith(JPEG_2000):
        return f"this is a JPEG 2000 image: rename it to *.jp2, which tiatoolbox reads, or {CONVERT}, and state its mpp"
    if path.suffix.lower() == ".mrxs" and not path.with_suffix("").is_dir():
        return f"this slide's pixels are in the folder {path.stem}, which is not beside it: copy it too"
    if image := _image_kind(head):
        return f"this is {image}, not a slide: {SCANNERS_FILE}"
    if head[128:132] == b"DICM":
        return "this DICOM file is no whole-slide image that OpenSlide reads: give a file of the slide's VOLUME series"
    return _explain_tiff(path)


def explain_head(path: Path) -> str:
    """What a file is by its first bytes, with what to do about archives and the like; "" where they do not tell. Raises OSError."""
    head = _read_head(path)
    return _explain_signature(head) or _image_kind(head)


def describe_unread(path: Path) -> str:
    """What to do about a slide that opens but whose pixels cannot be decoded, with the compression of a TIFF.

    Raises SlideError `not_brightfield` for a TIFF whose samples are not of 8 or 16 bits.
    """
    directories = read_directories(path)[0] if path.is_file() else []
    compression = ""
    if directories:
        if (bits := directories[0].bits) not in (8, 16):
            raise SlideError(Status.NOT_BRIGHTFIELD, f"{path}: pixels have {bits} bits, not 8; exclude this slide")
        if name := COMPRESSIONS.get(directories[0].compression):
            compression = f" ({name} compression)"
    return f"{compression}; copy the file again or, if that does not help, {CONVERT}"


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _explain_signature(head: bytes) -> str:
    """What a file that starts like this is, and what to do; "" for other files."""
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it with tar -xf"
    return next((f"{kind}: {remedy}" for start, (kind, remedy) in SIGNATURES.items() if head.startswith(start)), "")


def _image_kind(head: bytes) -> str:
    return next((kind for start, kind in IMAGES.items() if start in (head[: len(start)], head[4:12], head[8:12])), "")


def _explain_text(head: bytes) -> str | None:
    """For files of text: a page or an error that a server sent instead of the slide."""
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace").strip()

    def is_text(character: str) -> bool:
        return character != REPLACEMENT and (character.isprintable() or character.isspace())

    start = " ".join(text.split())[:SHOWN]
    if "<html" in text.lower() or text.lower().startswith("<!doctype html"):
        return f"this is an HTML page, not a slide: {AGAIN} (it starts: {start})"
    if not text or sum(not is_text(character) for character in text) > MOST_UNREADABLE * len(text):
        return None
    if text.startswith(("<", "{", "[")):
        kind = "an XML" if text.startswith("<") else "a JSON"
        return f"this is {kind} document, perhaps a server's error message: {AGAIN} (it starts: {start})"
    return f"this is a text file, not a slide: give the scanner's own file (it starts: {start})"


def _explain_tiff(path: Path) -> str | None:
    directories, is_complete = read_directories(path)
    if not is_complete:
        return f"this TIFF is cut short, at {path.stat().st_size} bytes: copy it again"
    if not directories:
        return None
    levels = [directory for directory in directories if directory.tile] or directories
    if unsupported := next((level.compression for level in levels if level.compression in UNSUPPORTED), None):
        return f"OpenSlide does not read TIFFs with {UNSUPPORTED[unsupported]} compression ({unsupported}): {CONVERT}"
    if not directories[0].tile:
        return f"this TIFF is not tiled (it is stored in strips), so regions cannot be read from it: {CONVERT}"
    return None
