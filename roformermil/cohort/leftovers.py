"""Results of slides that are no longer in the slide sheet, and tables of batches that were divided or joined since."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from roformermil.cohort.batches import divide_into_batches
from roformermil.cohort.slide_sheet import Slide

FOLDERS = ("tissue", "tiles", "features/*", "*/*/heatmaps")  # of a data set, that have results per slide
# what is after the slide's id in the name of such a file
ENDINGS = (
    ".png",
    ".jpg",
    ".geojson",
    ".npz",
    ".zarr",
    ".attention.png",
    ".contribution.png",
    ".contribution_shuffled.png",
)
# folders of tables per batch, and what is before the batch's name in theirs
TABLES = {"batches": "", "download": "batch_", **dict.fromkeys(FOLDERS, "batch_")}


def find_leftovers(dataset: Path, slides: Sequence[Slide], slides_per_batch: int) -> Iterator[Path]:
    """Files and stores in a data set's folder of results that no slide of the sheet and no batch has. Excluded slides keep
    theirs. Files of other names are left alone."""
    known = {slide.slide_id for slide in slides}
    batches = divide_into_batches(slides, slides_per_batch)
    for pattern in FOLDERS:
        for folder in sorted(dataset.glob(pattern)):
            for path in sorted(folder.iterdir()):
                ids = {path.name.removesuffix(end) for end in ENDINGS if path.name.endswith(end)}  # ids have points too
                if ids and not ids & known and not path.name.startswith("."):  # being written
                    yield path
    for pattern, prefix in TABLES.items():
        for path in sorted(dataset.glob(f"{pattern}/{prefix}*.csv")):
            if path.stem.removeprefix(prefix) not in batches:
                yield path
