"""What bounds `embed`: how long reading, resizing and encoding take, and how long the encoder waits."""

from dataclasses import dataclass


@dataclass
class Profile:
    """Seconds of a run, added up."""

    readers: int
    tiles: int = 0
    start: float = 0.0  # weights, compiling
    reading: float = 0.0  # over all readers
    resizing: float = 0.0
    waiting: float = 0.0  # for tiles
    encoding: float = 0.0  # and writing what is finished
    writing: float = 0.0
    whole: float = 0.0

    def table(self) -> str:
        """The seconds as a table, and in words what bounds the run."""
        parts = {
            "start (weights, compiling)": self.start,
            f"reading ({self.readers} processes, each)": self.reading / self.readers,
            f"resizing ({self.readers} processes, each)": self.resizing / self.readers,
            "encoding": self.encoding - self.writing,
            "waiting for tiles": self.waiting,
            "writing stores": self.writing,
            "whole run": self.whole,
        }
        lines = ["| | seconds | tiles/s |", "|---|---|---|"]
        for name, seconds in parts.items():
            lines.append(f"| {name} | {seconds:.2f} | {self.tiles / seconds if seconds else 0:.1f} |")
        return "\n".join([*lines, "", f"{self.tiles} tiles. {self.verdict()}"])

    def verdict(self) -> str:
        if self.encoding >= self.waiting:
            return "Encoding bounds the run: a GPU, encoder.precision or encoder.compile would help, more readers would not."
        slower = "reading (the disk, or decoding)" if self.reading >= self.resizing else "resizing"
        return f"The encoder waits for tiles, and they for {slower}: more CPU cores and encoder.readers would help."
