"""Progress and warnings of running jobs, shown where Snakemake shows the run: what jobs print themselves would break its live view.

Every job appends such lines to one file (`roformermil --live-log FILE`), which a thread beside Snakemake reads.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from roformermil.runtime import progress

POLL_SECONDS = 5.0


class LiveLogHandler(logging.FileHandler):
    """Appends warnings and progress to the file that a LiveLog reads, each line after the name of the job's own log."""

    def __init__(self, path: Path, job: str):
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, mode="a", encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter(f"{job}: %(message)s"))
        self.addFilter(lambda record: record.levelno == logging.WARNING or record.name == progress.__name__)


class LiveLog(Thread):
    """Calls `announce` with each new line of a file, while the process that started it lives."""

    def __init__(self, path: Path, announce: Callable[[str], None]):
        super().__init__(name="live-log", daemon=True)
        self.path, self.announce = path, announce
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")  # of an earlier run
        self.stopped = Event()
        self._unfinished_line = ""

    def run(self) -> None:
        with open(self.path, encoding="utf-8", errors="replace") as file:
            while not self.stopped.wait(POLL_SECONDS):
                self.announce_lines(file.read())

    def announce_lines(self, text: str) -> None:
        """Announce the complete lines of `text`, which follows that of the call before; equal lines once."""
        *lines, self._unfinished_line = (self._unfinished_line + text).split("\n")
        for line in dict.fromkeys(lines):
            self.announce(line)
