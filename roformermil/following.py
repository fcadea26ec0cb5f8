"""What running jobs say, brought to where Snakemake shows the run: its live view would be drawn over by what jobs print themselves."""

import re
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from roformermil.progress import PAUSE

PROGRESS = re.compile(r"^\S+ \S+ INFO .*: (\d.* of .* left)$", re.MULTILINE)  # progress.LINE, as the log has it
WARNING = re.compile(r"^\S+ \S+ WARNING (.*)$", re.MULTILINE)


class Follower(Thread):
    """Reads the logs of a run while it lasts; announces warnings, and of each log that has a new one the last line of progress."""

    def __init__(self, logs: Path, announce: Callable[[str], None]):
        super().__init__(name="follower", daemon=True)  # ends with Snakemake
        self.logs, self.announce = logs, announce
        self.read = {path: path.stat().st_size for path in logs.rglob("*.log")}  # bytes; all of earlier runs
        self.ended = Event()

    def run(self) -> None:
        while not self.ended.wait(PAUSE):
            self.look()

    def look(self) -> None:
        """Announce what is new."""
        for path in sorted(self.logs.rglob("*.log")):
            try:
                new = self._news(path)
            except FileNotFoundError:  # of a job that starts anew
                continue
            lines = list(dict.fromkeys(WARNING.findall(new))) + PROGRESS.findall(new)[-1:]
            for line in lines:
                self.announce(f"{path.relative_to(self.logs).with_suffix('')}: {line}")

    def _news(self, path: Path) -> str:
        """Whole lines that came since the last look; all of a log that was begun again."""
        start = self.read.get(path, 0)
        if (size := path.stat().st_size) == start:
            return ""
        with open(path, "rb") as file:
            file.seek(start if size > start else 0)
            new = file.read()
            self.read[path] = file.tell() - len(new.rpartition(b"\n")[2])
        return new.rpartition(b"\n")[0].decode(errors="replace")
