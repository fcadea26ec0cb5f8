"""What running jobs say of their progress, brought to where Snakemake shows the run: its live view would draw over a job's own bar."""

import re
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

from roformermil.progress import PAUSE

PROGRESS = re.compile(r"^\S+ \S+ INFO .*: (\d.* of .* left)$", re.MULTILINE)  # progress.LINE, as the log has it
TAIL = 4096  # bytes of a log that are looked at


class Follower(Thread):
    """Reads the logs of a run while it lasts, and announces the last line of progress of each that has a new one."""

    def __init__(self, logs: Path, announce: Callable[[str], None]):
        super().__init__(name="follower", daemon=True)  # ends with Snakemake
        self.logs, self.announce = logs, announce
        self.seen: dict[Path, float] = {path: path.stat().st_mtime for path in logs.rglob("*.log")}  # of earlier runs
        self.ended = Event()

    def run(self) -> None:
        while not self.ended.wait(PAUSE):
            self.look()

    def look(self) -> None:
        """Announce what is new."""
        for path in sorted(self.logs.rglob("*.log")):
            try:
                changed = path.stat().st_mtime
                if changed == self.seen.get(path):
                    continue
                with open(path, "rb") as file:
                    file.seek(max(0, file.seek(0, 2) - TAIL))
                    found = PROGRESS.findall(file.read().decode(errors="replace"))
            except FileNotFoundError:  # of a job that starts anew
                continue
            self.seen[path] = changed
            if found:
                self.announce(f"{path.relative_to(self.logs).with_suffix('')}: {found[-1]}")
