"""Batches of a data set's slides: what one job works on, and what of the slide sheet decides its result."""

from collections.abc import Sequence

from roformermil.cohort.slide_sheet import Slide
from roformermil.runtime.files import fingerprint


def batch_count(slides: Sequence[Slide], size: int) -> int:
    """Number of batches of `size` slides; the last may be smaller."""
    return -(-len(slides) // size)


def slides_of_batch(slides: Sequence[Slide], batch: int, size: int) -> list[Slide]:
    """The slides of a batch, in the slide sheet's order; none for a batch that does not exist."""
    return list(slides[batch * size : (batch + 1) * size])


def columns_digest(slides: Sequence[Slide], columns: Sequence[str]) -> str:
    """Digest of some columns of the sheet. A job runs again when it changes."""
    cells = [[getattr(slide, column) for column in columns] for slide in slides]
    return fingerprint(rows=[[cell if isinstance(cell, float | None) else str(cell) for cell in row] for row in cells])
