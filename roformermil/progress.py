"""Progress of long work: a bar on a terminal; a line in the log every half a minute where there is none, or where Snakemake has it."""

import logging
import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

PAUSE = 30.0  # seconds between two lines of a log
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {rate_fmt}, {remaining} left"
FOLLOWED = "ROFORMERMIL_FOLLOWED"  # set where Snakemake runs: `following` shows there what logs say
T = TypeVar("T")
log = logging.getLogger(__name__)


class _Log:
    """A file that tqdm writes to: each line to the log."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n "):
            log.info("%s", line)

    def flush(self) -> None:
        pass


def track(items: Iterable[T] | None = None, on: bool = True, **settings: Any) -> Any:
    """tqdm with its own settings (desc, unit, total, ...); silent unless `on`."""
    if on and (FOLLOWED in os.environ or not sys.stderr.isatty()):
        settings |= {"file": _Log(), "mininterval": PAUSE, "miniters": 1, "bar_format": LINE, "delay": PAUSE}
    return tqdm(items, disable=not on, **settings)


def is_for_people(record: logging.LogRecord) -> bool:
    """Whether a record belongs on the screen: where Snakemake has it, errors alone; the rest is in the log, and announced from there."""
    return record.levelno >= logging.ERROR or FOLLOWED not in os.environ
