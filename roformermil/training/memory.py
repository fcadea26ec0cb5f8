"""Running out of memory, said so that a person knows which slide it was and what to turn."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from roformermil.bags.dataset import Batch
from roformermil.errors import OutOfMemoryError

TRAINING = (
    "set training.checkpointing: true (less memory, more time), limit the tiles a slide gives to a step with "
    "training.max_tiles, or lower training.batch_size"
)
EVALUATION = "slides are evaluated whole: it needs a machine with more memory, or coarser tiles (tiles.mpp)"


@contextmanager
def memory_errors_named(batch: Batch, training: bool) -> Iterator[None]:
    """Turns an allocation that failed inside, on a CPU or a GPU, into OutOfMemoryError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        largest = sorted(zip(batch.lengths, batch.slide_ids, strict=True), reverse=True)
        slides = ", ".join(f"{slide_id} ({tiles} tiles)" for tiles, slide_id in largest)
        remedy = TRAINING if training else EVALUATION
        raise OutOfMemoryError(f"out of memory with slides {slides}: {remedy}") from error


def is_memory(error: BaseException) -> bool:
    """Whether an allocation failed: a GPU's error has a class of its own, a CPU's is a RuntimeError known by its text."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
