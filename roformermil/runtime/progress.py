"""Progress of long work: a bar on a terminal, a line in the log every half minute elsewhere."""

import io
import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

LOG_SECONDS = 30.0  # between two lines of a log
LOG_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}s, {rate_fmt}, {remaining} left"
screen_is_free = True  # False where another program owns the terminal (`roformermil --live-log`)
log = logging.getLogger(__name__)  # `live_log` knows progress by this name


class _LogFile(io.StringIO):
    """A file for tqdm that writes each line to the log."""

    def write(self, text: str) -> int:
        if line := text.strip("\r\n "):
            log.info("%s", line)
        return len(text)


def track(items: Iterable[Any] | None = None, on: bool = True, **settings: Any) -> Any:
    """tqdm with its settings (desc, unit, total, ...); silent unless `on`."""
    if on and not (screen_is_free and sys.stderr.isatty()):
        file = {"file": _LogFile(), "bar_format": LOG_LINE}
        settings |= {**file, "mininterval": LOG_SECONDS, "miniters": 1, "delay": LOG_SECONDS}
    return tqdm(items, disable=not on, **settings)
