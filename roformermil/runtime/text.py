"""Lists and tables in messages and Markdown."""

from collections.abc import Iterable, Sequence


def join_some(names: Sequence[str], limit: int = 5) -> str:
    """The first `limit` names, comma between, and how many more there are."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def plural(count: int, noun: str) -> str:
    """A count and its noun: `1 patient`, `2 patients`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def first_lines(lines: Sequence[str], limit: int) -> str:
    """The first `limit` lines, and a last one with how many more there are."""
    more = [f"and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join([*lines[:limit], *more])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table. `|` in a cell is escaped."""
    lines = [list(header), ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
