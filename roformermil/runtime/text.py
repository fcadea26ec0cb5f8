"""Lists and tables in messages and Markdown."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

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
