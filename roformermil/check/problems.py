"""A problem that a check found, and lists of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roformermil.errors import RoFormerMILError
from roformermil.runtime.text import choose_lines

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Problem:
    """A sentence about the configuration or a data set. Only an `error` prevents a run."""

    level: Level
    message: str
    dataset: str = ""
    count: int = 1  # of problems that the sentence is about

    def __str__(self) -> str:
        return f"{self.dataset}: {self.message}" if self.dataset else self.message


def list_problems(level: Level, lines: Sequence[str], dataset: str, limit: int) -> Iterator[Problem]:
    """A problem for each of up to `limit` lines, of each kind the first, and one for the rest."""
    yield from (Problem(level, line, dataset) for line in choose_lines(lines, limit))
    if (rest := len(lines) - limit) > 0:
        yield Problem(level, f"and {rest} more like these", dataset, rest)


def raised(dataset: str, check: Callable[..., object], *arguments: object) -> Iterator[Problem]:
    """The error that `check` raises, as a problem of the data set."""
    try:
        check(*arguments)
    except RoFormerMILError as error:
        yield Problem("error", str(error), dataset)


def locate(path: Path) -> str:
    """The absolute path and, where a relative one was given, what it is relative to."""
    if path.is_absolute():
        return str(path)
    return f"{path.absolute()} ('{path}' in {Path.cwd()}, the folder in which this command runs)"
