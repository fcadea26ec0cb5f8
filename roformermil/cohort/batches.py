"""Batches of a data set's slides: what one job works on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from roformermil.cohort.slide_sheet import Slide
from roformermil.cohort.slide_table import records_from_sheet
from roformermil.runtime.records import records_text

ALL = "all"  # the name of the only batch
DIGEST_BITS = 256
TABLE_COLUMNS = ("slide_id", "path", "sheet_mpp", "sheet_tissue", "status", "message", "stage")


@dataclass(frozen=True)
class Batch:
    """Slides that one job works on, in the order of their ids."""

    name: str
    slides: tuple[Slide, ...]

    def table(self) -> str:
        """The slide table that the first stage reads, as text."""
        return records_text(records_from_sheet(self.slides), TABLE_COLUMNS)


def divide_into_batches(slides: Sequence[Slide], size: int) -> dict[str, Batch]:
    """Batches of at most `size` slides, by name.

    A binary trie over the digests of the slides' ids: all slides are the batch `all`; a batch with more than `size` slides is
    divided by the next bit of the digests, and its name is the bits so far. A slide's batch follows from its id and from how
    many ids begin with the same bits, not from the order of the slide sheet: a slide more or less changes one batch.
    """
    ordered = sorted(slides, key=lambda slide: slide.slide_id)
    digests = [(int.from_bytes(sha256(slide.slide_id.encode()).digest()), slide) for slide in ordered]
    return {batch.name: batch for batch in _divide(digests, size, "")}


def _divide(slides: list[tuple[int, Slide]], size: int, bits: str) -> Iterator[Batch]:
    if len(slides) <= size:
        if slides:
            yield Batch(bits or ALL, tuple(slide for _, slide in slides))
        return
    shift = DIGEST_BITS - 1 - len(bits)
    for bit in (0, 1):
        yield from _divide([one for one in slides if one[0] >> shift & 1 == bit], size, f"{bits}{bit}")
