"""The table of slides that `check` prints and writes."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roformermil.check.inspection import InspectedSlide
from roformermil.errors import Status
from roformermil.runtime.records import write_records
from roformermil.runtime.text import aligned_table
from roformermil.slides.scale import mpp_source_text

MOST_ROWS = 50  # that are printed
HEADER = ("slide", "format", "size, px", "um/px", "from", "tissue", "tiles", "status")
KINDS_HEADER = ("format", "um/px", "from", "slides", "lost", "tiles of a slide (median)", "tiles")
RIGHT = {"size, px", "um/px", "tissue", "slides", "lost", "tiles of a slide (median)", "tiles"}
UNKNOWN = "–"


@dataclass(frozen=True)
class SlideRow:
    """A row of the table."""

    dataset: str
    slide_id: str
    path: Path
    format: str  # as OpenSlide names it: aperio, hamamatsu, mirax, generic-tiff, ...
    width: int | None  # level-0 pixels
    height: int | None
    mpp: float | None
    mpp_source: str  # sheet, vendor, tiff or objective
    tissue: float | None  # fraction of the slide's area
    tissue_mm2: float | None
    tiles: int | None
    status: str
    message: str
    warnings: str

    @property
    def is_odd(self) -> bool:
        """Whether it cannot be used, or only with warnings."""
        return bool(self.warnings) or self.status not in (Status.OK, Status.EXCLUDED)


def slide_rows(dataset: str, slides: Sequence[InspectedSlide]) -> list[SlideRow]:
    """A data set's rows."""
    rows = []
    for slide in slides:
        r = slide.record
        tissue = None
        if r.tissue_mm2 is not None and r.width and r.height and r.mpp:
            tissue = round(r.tissue_mm2 / (r.width * r.height * r.mpp**2 / 1e6), 4)
        file = (r.slide_id, r.path.absolute(), slide.format, r.width, r.height, r.mpp, r.mpp_source)
        rows.append(SlideRow(dataset, *file, tissue, r.tissue_mm2, r.tiles, str(r.status), r.message, r.warnings))
    return rows


def write_table(path: Path, rows: Sequence[SlideRow]) -> None:
    """Write all rows as CSV."""
    write_records(path, rows)


def describe_slides(rows: Sequence[SlideRow]) -> str:
    """The table for a terminal: all slides or, of many, a summary by format and resolution and the odd ones."""
    if len(rows) <= MOST_ROWS:
        return _rows_table(rows)
    odd = [row for row in rows if row.is_odd]
    parts = [_kinds_table(rows)]
    if odd:
        parts.append(_rows_table(odd[:MOST_ROWS]))
    if len(odd) > MOST_ROWS:
        parts.append(f"and {len(odd) - MOST_ROWS} more odd slides; `--table FILE` writes all")
    return "\n\n".join(parts)


def _rows_table(rows: Sequence[SlideRow]) -> str:
    return aligned_table(HEADER, [_cells(row) for row in rows], RIGHT)


def _cells(row: SlideRow) -> tuple[str, ...]:
    size = f"{row.width:,} x {row.height:,}" if row.width and row.height else UNKNOWN
    tissue = UNKNOWN if row.tissue is None else f"{row.tissue:.0%}" if row.tissue >= 0.01 else f"{row.tissue:.1%}"
    tiles = UNKNOWN if row.tiles is None else f"{row.tiles:,}"
    status = "ok, but see below" if row.status == Status.OK and row.warnings else row.status
    return (row.slide_id, row.format or UNKNOWN, size, *_resolution(row), tissue, tiles, status)


def _resolution(row: SlideRow) -> tuple[str, str]:
    mpp = UNKNOWN if row.mpp is None else f"{row.mpp:.3f}"
    return mpp, mpp_source_text(row.mpp_source) or UNKNOWN


def _kinds_table(rows: Sequence[SlideRow]) -> str:
    """The slides by format and resolution, most frequent first. Resolutions of a scanner differ in the third digit."""
    kinds = defaultdict(list)
    for row in rows:
        if row.status != Status.EXCLUDED:
            mpp = UNKNOWN if row.mpp is None else f"{row.mpp:.2f}"
            kinds[row.format or UNKNOWN, mpp, _resolution(row)[1]].append(row)
    lines = []
    for kind, members in sorted(kinds.items(), key=lambda item: -len(item[1])):
        tiles = [row.tiles for row in members if row.tiles is not None and row.status == Status.OK]
        median = f"{statistics.median(tiles):,.0f}" if tiles else UNKNOWN
        lost = sum(row.status != Status.OK for row in members)
        lines.append((*kind, f"{len(members):,}", f"{lost:,}", median, f"{sum(tiles):,}"))
    return aligned_table(KINDS_HEADER, lines, RIGHT)
