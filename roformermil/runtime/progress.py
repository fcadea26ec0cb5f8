"""Progress of long work: a bar on a terminal, a line in the log every half minute elsewhere."""

import io
import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from roformermil.runtime.text import duration, file_size, plural, two_digits

LOG_SECONDS = 30.0  # between two lines of a log
LOG_LINE = "{desc}: {state}"
BAR = "{desc}: {percentage:3.0f}%|{bar}| {state}"
screen_is_free = True  # False where another program owns the terminal (`roformermil --live-log`)
log = logging.getLogger(__name__)  # `live_log` knows progress by this name


class _LogFile(io.StringIO):
    """A file for tqdm that writes each line to the log."""

    def write(self, text: str) -> int:
        if line := text.strip("\r\n "):
            log.info("%s", line)
        return len(text)


class _Progress(tqdm):
    """tqdm whose formats may name `{state}`: `12 of 40 slides, 3.2 slides/s, 8.8 s left`, and `40 slides in 13 s` at the end."""

    @property
    def format_dict(self) -> dict[str, Any]:
        values = dict(super().format_dict)
        return values | {"state": _state(**{name: values[name] for name in ("n", "total", "elapsed", "rate", "unit")})}


def _state(n: float, total: float | None, elapsed: float, rate: float | None, unit: str) -> str:
    """What is done, how fast, and how much time is left. unit: of one item; `B` for bytes."""
    if total and n >= total:
        return f"{_amount(total, unit)} in {duration(elapsed)}"
    rate = rate or (n / elapsed if elapsed else 0)
    done = f"{n:,} of {_amount(total, unit)}" if total and unit != "B" else _amount(n, unit)
    if total and unit == "B":
        done += f" of {_amount(total, unit)}"
    if not rate:
        return done
    speed = f"{duration(1 / rate)} per {unit}" if rate < 1 else f"{two_digits(rate)} {unit}s/s"
    parts = [done, f"{file_size(rate)}/s" if unit == "B" else speed]
    if total:
        parts.append(f"{duration((total - n) / rate)} left")
    return ", ".join(parts)


def _amount(count: float, unit: str) -> str:
    if unit == "B":
        return file_size(count)
    return plural(int(count), unit).replace(str(int(count)), f"{int(count):,}", 1)


def track(items: Iterable[Any] | None = None, on: bool = True, **settings: Any) -> Any:
    """tqdm with its settings (desc, unit, total, ...); silent unless `on`."""
    settings |= {"bar_format": BAR}
    if on and not (screen_is_free and sys.stderr.isatty()):
        settings |= {"file": _LogFile(), "bar_format": LOG_LINE}
        settings |= {"mininterval": LOG_SECONDS, "miniters": 1, "delay": LOG_SECONDS}
    return _Progress(items, disable=not on, **settings)
