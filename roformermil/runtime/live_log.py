"""Progress and warnings of running jobs, shown where Snakemake shows the run: what jobs print themselves would break its live view.

Every job appends such lines to one file (`roformermil --live-log FILE`), which a thread beside Snakemake reads. The file exists
while it is read; without it, as where the workflow is a module of another one, jobs print for themselves.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from roformermil.runtime import progress

POLL_SECONDS = 5.0


class LiveLogHandler(logging.FileHandler):
    """Appends warnings and progress to the file that a LiveLog reads, each line after the name of the job's own log. Of records
    with `extra={"brief": ...}` it takes that text: what is said in full at the end of the run."""

    def __init__(self, path: Path, job: str):
        super().__init__(path, mode="a", encoding="utf-8", delay=True)
        self.job = job
        self.addFilter(lambda record: record.levelno == logging.WARNING or record.name == progress.__name__)

    def format(self, record: logging.LogRecord) -> str:
        return f"{self.job}: {getattr(record, 'brief', None) or record.getMessage()}"


class LiveLog(Thread):
    """Calls `announce` with each new line of a file, from `start` to `stop`."""

    def __init__(self, path: Path, announce: Callable[[str], None]):
        super().__init__(name="live-log", daemon=True)
        self.path, self.announce, self.stopped, self._unfinished_line = path, announce, Event(), ""

    def start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")  # of an earlier run
        super().start()

    def run(self) -> None:
        with open(self.path, encoding="utf-8", errors="replace") as file:
            while not self.stopped.wait(POLL_SECONDS):
                self.announce_lines(file.read())
            self.announce_lines(file.read())

    def stop(self) -> None:
        """Announce the last lines and remove the file."""
        self.stopped.set()
        self.join()
        self.path.unlink(missing_ok=True)

    def announce_lines(self, text: str) -> None:
        """Announce the complete lines of `text`, which follows that of the call before; equal lines once."""
        *lines, self._unfinished_line = (self._unfinished_line + text).split("\n")
        for line in dict.fromkeys(lines):
            self.announce(line)
