"""Lists, tables and amounts in messages and Markdown."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

NAMES_AND_NUMBERS = re.compile(r"'[^']*'|\S*[/\d]\S*")  # in quotes, paths, and words with digits


def join_some(names: Sequence[str], limit: int = 5) -> str:
    """The first `limit` names, comma between, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def plural(count: int, noun: str) -> str:
    """A count and its noun: `1 patient`, `2 patients`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_lines(lines: Sequence[str], limit: int) -> str:
    """Up to `limit` lines, as `choose_lines` does, and a last one with how many more there are."""
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join([*choose_lines(lines, limit), *more])


def choose_lines(lines: Sequence[str], limit: int) -> list[str]:
    """Up to `limit` lines in their order, of each kind the first: lines of a kind differ only in names and numbers."""
    seen: Counter[str] = Counter()
    ranks = []
    for place, line in enumerate(lines):
        kind = NAMES_AND_NUMBERS.sub("", line)
        ranks.append((seen[kind], place))
        seen[kind] += 1
    return [lines[place] for place in sorted(place for _, place in sorted(ranks)[:limit])]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table. `|` in a cell is escaped."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def aligned_table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> str:
    """A table for the terminal, columns aligned by spaces, those named in `right` at their right side."""
    lines = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [str.rjust if name in right else str.ljust for name in header]
    return "\n".join(
        "  ".join(pad(cell, width) for pad, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in lines
    )


def duration(seconds: float) -> str:
    """A time in its unit, two digits: `8.3 s`, `12 min`, `3.2 h`, `5.4 days`."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{two_digits(seconds / length)} {unit}"
    return f"{two_digits(seconds / 86400)} days"


def file_size(count: float) -> str:
    """A number of bytes in its unit, two digits: `640 kB`, `1.2 GB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{two_digits(count)} {unit}"
        count /= 1000
    return f"{two_digits(count)} TB"


def p_text(p: float) -> str:
    """A p value: `p = 0.012`, or `p < 0.001`, since smaller ones depend on what a test assumes."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def two_digits(value: float) -> str:
    """A number of two digits, or all those before the point: `0.82`, `8.3`, `120`, `1,234`."""
    digits = 0 if value >= 10 or value == 0 else 1 - math.floor(math.log10(value))
    return f"{value:,.{digits}f}"
