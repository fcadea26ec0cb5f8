"""Slide ids and patients, told from the names of files and folders."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roformermil.runtime.text import join_some, plural
from roformermil.slides.slide_folder import SLIDE_ENDINGS

# barcodes that begin with the patient, and how much of them that is
BARCODES = {
    re.compile(
        r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![A-Z0-9])", re.IGNORECASE
    ): "the first 12 characters of TCGA's barcodes",
    re.compile(r"C3[LN]-\d{5}(?!\d)", re.IGNORECASE): "the first 9 characters of CPTAC's barcodes",
    re.compile(r"GTEX-[A-Z0-9]{4,5}(?![A-Z0-9])", re.IGNORECASE): "the first part of GTEx's barcodes",
}
# folders that have numbers and are no patients: batches, dates, identifiers of downloads
NO_PATIENT = re.compile(
    r"(batch|box|center|centre|class|cohort|day|disc|disk|fold|grade|group|hospital|level|part|run|scan|scanner|set|site"
    r"|slides?|stage|test|train|type|val|wsis?)s?[\W_]*\d*|(19|20)\d\d([\W_]?\d\d){0,2}|[0-9a-f]{8}(-[0-9a-f]{4,12}){4}",
    re.IGNORECASE,
)
LEAST_PATIENTS, MOST_SLIDES_PER_PATIENT, MOST_CLASSES = 3, 10, 10


@dataclass(frozen=True)
class Patients:
    """By slide file its patient, none where they cannot be told, and how they were told."""

    of: dict[Path, str]
    source: str = ""


def slide_ids(slides: Sequence[Path], folder: Path) -> dict[Path, str]:
    """A slide id for each slide file in `folder`: its name without ending, with the names of its folders where needed to be unique.

    Characters that ids may not have become `_`, letters with accents lose these.
    """
    ids: dict[Path, str] = {}
    taken: set[str] = set()
    for members in group_by(slides, lambda slide: usable_id(stem(slide, folder)).casefold()).values():
        for names in _candidates(members, folder):
            folded = {name.casefold() for name in names}
            if len(folded) == len(members) and taken.isdisjoint(folded):
                break
        else:
            names = [f"{name}_{len(taken) + k}" for k, name in enumerate(names)]
        taken |= {name.casefold() for name in names}
        ids |= dict(zip(members, names, strict=True))
    return {slide: ids[slide] for slide in slides}


def group_by(items: Iterable[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    """The items with the same key, in their order."""
    groups: dict[str, list[Path]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def stem(slide: Path, folder: Path) -> str:
    """A slide's name without its ending; of DICOM files, whose names mean nothing, that of their folder."""
    if slide.suffix.lower() == ".dcm" and slide.parent != folder:
        return slide.parent.name
    return without_ending(slide.name)


def without_ending(name: str) -> str:
    """A file's name without the ending of a slide's, such as `.svs` or `.ome.tif`."""
    ending = max((end for end in SLIDE_ENDINGS if name.lower().endswith(end)), key=len, default="")
    return name[: len(name) - len(ending)]


def usable_id(name: str) -> str:
    """The name with characters that may be in ids and names of classes only."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]+", "_", plain).lstrip("._-").rstrip("_") or "slide"


def patients_of(slides: Sequence[Path], folder: Path) -> Patients:
    """The patients by the barcodes that files are named after or, where these look like patients, by folders."""
    for pattern, source in BARCODES.items():
        found = {slide: match[0].upper() for slide in slides if (match := pattern.match(stem(slide, folder)))}
        if 2 * len(found) > len(slides):
            return Patients(found, source)
    for level in range(1, min((len(slide.relative_to(folder).parts) for slide in slides), default=1)):
        names = [slide.parts[-1 - level] for slide in slides]
        if _look_like_patients(names):
            count = len(set(names))
            return Patients(
                dict(zip(slides, names, strict=True)), f"the {count} folders {join_some(sorted(set(names)), 3)}"
            )
    return Patients({})


def folders_as_patients(slides: Sequence[Path], folder: Path) -> Patients:
    """Each slide's own folder as its patient, as the user asked for; none for slides in `folder` itself."""
    return Patients({s: s.parent.name for s in slides if s.parent != folder}, "the slides' folders, as you asked")


def class_folders(slides: Sequence[Path], folder: Path) -> dict[Path, str]:
    """By slide file the sub-folder of `folder` that it is in."""
    return {slide: parts[0] for slide in slides if len(parts := slide.relative_to(folder).parts) > 1}


def describe_class_folders(slides: Sequence[Path], folder: Path) -> str:
    """The sub-folders and their slides, where these may be the slides' classes; else empty."""
    names = class_folders(slides, folder)
    counts = Counter(names.values())
    if len(names) < len(slides) or not 2 <= len(counts) <= MOST_CLASSES or min(counts.values()) < 2:
        return ""
    return " and ".join(f"{name} ({plural(count, 'slide')})" for name, count in sorted(counts.items()))


def _candidates(slides: Sequence[Path], folder: Path) -> Iterable[list[str]]:
    """Names for slides that would have the same id: with ever more of the folders that they are in, and with their endings."""
    depth = max(len(slide.relative_to(folder).parts) for slide in slides)
    for with_ending in (False, True):
        for level in range(depth):
            names = []
            for slide in slides:
                parts = slide.relative_to(folder).parts[:-1]
                ending = slide.name[len(without_ending(slide.name)) :] if with_ending else ""
                names.append(usable_id("_".join([*parts[len(parts) - level :], stem(slide, folder) + ending])))
            yield names


def _look_like_patients(names: Sequence[str]) -> bool:
    counts = Counter(names)
    several = LEAST_PATIENTS <= len(counts) < len(names) <= MOST_SLIDES_PER_PATIENT * len(counts)
    numbered = all(re.search(r"\d", name) and not NO_PATIENT.fullmatch(name) for name in counts)
    return several and numbered and 2 * max(counts.values()) <= len(names)
