"""The slides in a folder and its sub-folders, told by the names of files: no slide is opened."""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from roformermil.cohort.slide_files import companions
from roformermil.runtime.text import join_some, plural
from roformermil.slides.backends import TOOLBOX_FORMATS
from roformermil.slides.file_kinds import explain_head

SLIDE_ENDINGS: tuple[str, ...] = (".svs", ".svslide", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".czi")
SLIDE_ENDINGS += (".vms", ".vmu", ".dcm", *TOOLBOX_FORMATS)
UNSUPPORTED = (".vsi", ".ets", ".isyntax", ".i2syntax", ".kfb", ".sdpc", ".mds", ".tmap", ".zvi", ".lif", ".afi")
EXPORT = "a slide of a format that OpenSlide does not read: export it from the scanner's software as tiled TIFF"
FEATURE_STORE = "a feature store"
DICOM = "a further DICOM file of its folder, which is taken for one slide: give each slide a folder"


@dataclass(frozen=True)
class SlideFolder:
    """What `find_slides` found, in the order of paths."""

    slides: list[Path]
    others: list[tuple[Path, str]]  # what is no slide, and what it is instead

    def describe_others(self) -> list[str]:
        """A line for each kind of others: how many, what they are, the names of some."""
        kinds = defaultdict(list)
        for path, kind in self.others:
            kinds[kind].append(path.name)
        return [f"{plural(len(names), 'file')} left out ({kind}): {join_some(names)}" for kind, names in kinds.items()]


def find_slides(folder: Path, without: Path | None = None) -> SlideFolder:
    """The slides in `folder` and below, through links too, but not in the folder `without`.

    A slide is told by the ending of its name, so that a damaged one is found too and what opens it can say why it fails. The
    other files of a slide, such as the folder beside an MRXS file, are left out, as is what begins with a dot or @. Of a
    folder's DICOM files the first is the slide.
    """
    others: list[tuple[Path, str]] = []
    paths = sorted(_walk(folder, without and without.resolve(), others))
    slides = [path for path in paths if path.name.lower().endswith(SLIDE_ENDINGS) and not is_feature_store(path)]
    slides, further = _one_per_dicom_folder(slides)
    others += [(path, DICOM) for path in further]
    parts = {part for slide in slides for part in companions(slide)}
    listed = {*slides, *further}
    for path in paths:
        if path not in listed and parts.isdisjoint((path, *path.parents)):
            others.append((path, FEATURE_STORE if is_feature_store(path) else _kind_of(path)))
    return SlideFolder(slides, sorted(others))


def is_feature_store(path: Path) -> bool:
    """Whether this is a folder that `embed` or `import` wrote."""
    return (path / "features").is_dir()


def is_feature_file(path: Path) -> bool:
    """Whether this is, by its name, a file that another pipeline keeps features in."""
    return path.suffix.lower() == ".h5"


def slide_name(path: Path) -> str:
    """A slide's name, from that of its file, or of its folder for a DICOM slide, whose files have only numbers."""
    return path.parent.name if path.suffix.lower() == ".dcm" else path.stem.removesuffix(".ome")


def _walk(folder: Path, without: Path | None, unreadable: list[tuple[Path, str]]) -> Iterator[Path]:
    """All files, and the folders `*.zarr`, each of which is one slide or store. Folders that cannot be listed are added to
    `unreadable`."""

    def skip(error: OSError) -> None:
        unreadable.append((Path(error.filename), f"cannot be read: {error.strerror}"))

    seen = {os.path.realpath(folder)}  # a link may lead to a folder above it
    for name, folders, files in os.walk(folder, followlinks=True, onerror=skip):
        here = Path(name)
        yield from (here / file for file in files if not _is_hidden(file))
        yield from (here / child for child in folders if child.endswith(".zarr"))
        kept = []
        for child in folders:
            target = os.path.realpath(here / child)
            if not (_is_hidden(child) or child.endswith(".zarr") or target in seen or Path(target) == without):
                seen.add(target)
                kept.append(child)
        folders[:] = kept


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "@"))  # such as ._slide.svs of macOS, @eaDir of Synology


def _one_per_dicom_folder(slides: list[Path]) -> tuple[list[Path], list[Path]]:
    """The slides with the first DICOM file of each folder, and the further ones."""
    first: dict[Path, Path] = {}
    further = [s for s in slides if s.suffix.lower() == ".dcm" and first.setdefault(s.parent, s) != s]
    return [slide for slide in slides if slide not in set(further)], further


def _kind_of(path: Path) -> str:
    """What a file without a slide's ending is, and what to do where it may contain or be a slide."""
    if path.suffix.lower() in UNSUPPORTED:
        return EXPORT
    try:
        if kind := explain_head(path):
            return kind
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return f"{path.suffix} is not an ending of slide files" if path.suffix else "no ending of slide files in its name"
