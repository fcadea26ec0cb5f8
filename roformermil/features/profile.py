"""What limits the speed of `embed`: how long reading, resizing and encoding take, and how long the encoder waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from roformermil.runtime.text import markdown_table


@dataclass
class Profile:
    """Seconds of a run, by what they were spent on."""

    readers: int = 1  # processes that read tiles
    tiles: int = 0
    start: float = 0.0  # loading weights, compiling
    reading: float = 0.0  # sum over all readers
    resizing: float = 0.0  # sum over all readers
    stacking: float = 0.0  # copying tiles into batches, in a thread that also receives them
    waiting: float = 0.0  # of the encoder, for batches
    encoding: float = 0.0  # including writing
    writing: float = 0.0
    whole: float = 0.0

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the seconds that the block takes to `part`, the name of a field."""
        start = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, part, getattr(self, part) + time.perf_counter() - start)

    def table(self) -> str:
        """The seconds as a Markdown table, and a sentence that says what limits the speed."""
        seconds_by_part = {
            "start (weights, compiling)": self.start,
            f"reading ({self.readers} processes, each)": self.reading / self.readers,
            f"resizing ({self.readers} processes, each)": self.resizing / self.readers,
            "stacking batches (one thread)": self.stacking,
            "encoding": self.encoding - self.writing,
            "waiting for tiles": self.waiting,
            "writing stores": self.writing,
            "whole run": self.whole,
        }
        rows = [(part, f"{s:.2f}", f"{self.tiles / s if s else 0:.1f}") for part, s in seconds_by_part.items()]
        return f"{markdown_table(('', 'seconds', 'tiles/s'), rows)}\n\n{self.tiles} tiles. {self.verdict()}"

    def verdict(self) -> str:
        """What limits the speed, and which settings would help."""
        if self.encoding >= self.waiting:
            helpful = "a GPU, encoder.precision or encoder.compile would help, not more readers"
            return f"Encoding limits the speed: {helpful}."
        if self.reading + self.resizing < self.readers * (self.whole - self.start) / 2:
            return "The encoder waits for tiles, the readers for the thread that passes them on: this limits the speed."
        slower = "reading (the disk, or decoding)" if self.reading >= self.resizing else "resizing"
        return f"The encoder waits for tiles, mainly for {slower}: more CPU cores and encoder.readers would help."
