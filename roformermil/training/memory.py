"""Out of memory: errors that name the slides and the setting to change."""

from collections.abc import Iterator
from contextlib import contextmanager

from roformermil.bags.dataset import Batch
from roformermil.errors import OutOfMemoryError
from roformermil.runtime.memory import is_memory

TRAINING_REMEDY = (
    "set training.checkpointing: true (less memory, more time), limit the tiles per slide in a step with "
    "training.max_tiles, or lower training.batch_size"
)
EVALUATION_REMEDY = "slides are evaluated whole: use a machine with more memory, or coarser tiles (tiles.target_mpp)"


@contextmanager
def memory_errors_named(batch: Batch, training: bool) -> Iterator[None]:
    """Turn a failed allocation, on a CPU or a GPU, into OutOfMemoryError with the slides of the batch."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        largest_first = sorted(zip(batch.slide_lengths, batch.slide_ids, strict=True), reverse=True)
        slides = ", ".join(f"{slide_id} ({tiles} tiles)" for tiles, slide_id in largest_first)
        remedy = TRAINING_REMEDY if training else EVALUATION_REMEDY
        raise OutOfMemoryError(f"out of memory with slides {slides}: {remedy}") from error
